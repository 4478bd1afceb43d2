"""Shorthand for calls that tests of containers make."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri import api
from rig.cri_client import CriClient
from rig.patience import patient


def status(client: CriClient, container: str) -> Any:
    return client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status


def verbose(client: CriClient, container: str) -> Any:
    """The verbose info, decoded."""
    reply = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True))
    return json.loads(reply.info["info"])


def wait_exited(client: CriClient, container: str) -> Any:
    deadline = time.monotonic() + patient(20)
    while (found := status(client, container)).state != api.ContainerState.CONTAINER_EXITED:
        assert time.monotonic() < deadline, f"still {found.state}"
        time.sleep(patient(0.02))  # between looks at the condition
    return found


def written(client: CriClient, container: str) -> list[str]:
    """The words in its log, of lines without what is before them."""
    path = Path(status(client, container).log_path)
    return [line.split(" ", 3)[-1] for line in path.read_text().splitlines()] if path.exists() else []


def run(client: CriClient, container: str, script: str, timeout: int = 10) -> str:
    """What a shell script in the container prints, both streams."""
    cmd = ["/bin/sh", "-c", f"exec 2>&1; {script}"]
    reply = client.ExecSync(api.ExecSyncRequest(container_id=container, cmd=cmd, timeout=int(patient(timeout))))
    return str(reply.stdout.decode())


def refused(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    """Code and message of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details()
