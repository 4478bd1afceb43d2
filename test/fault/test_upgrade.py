"""Crispd is replaced by another version under running pods (hazards 3.40): those of an older one are adopted as they
are; what a newer one has left is not touched."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cri_calls import wait_exited
from rig.node import Node, wait_until
from rig.patience import patient
from rig.processes import is_running

if TYPE_CHECKING:
    from critest.conftest import Pods

    from rig.cri_client import CriClient

pytestmark = pytest.mark.root

EARLIER = "2d21e8f"
"""The version to come from: the first that ran pods from start to end. A release, when there is one."""
CONFIG = """version = 1
root = "{base}/root"
state = "{base}/run"
[grpc]
address = "{base}/run/crisp.sock"
[cni]
conf_dir = "{base}/net.d"
builtin = true
bridge = "crisptest0"
subnet = "10.90.0.0/24"
[nri]
enable = false
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the earlier version."""
    directory = tmp_path_factory.mktemp("earlier")
    command = ["git", "-C", str(Path(__file__).parents[2]), "archive", EARLIER, "core", "cri"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history is not here")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")
    return directory


@pytest.fixture
def blank(node: Node, earlier: Path) -> Node:
    """Nobody has run there yet, and its configuration is one that both versions understand."""
    node.end(signal.SIGTERM)
    for directory in ("root", "run"):
        shutil.rmtree(node.base / directory)
    (node.base / "config.toml").write_text(CONFIG.format(base=node.base))
    return node


LINES = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"
ENDS = "until test -e /tmp/end; do sleep 0.02; done; exit 7"


def test_pods_of_an_earlier_version_go_on(blank: Node, earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their shims speak as they always did, and the files beside them say what they always said."""
    node, sandbox = blank, blank.pod()
    with monkeypatch.context() as there:
        there.chdir(earlier)  # where `python -m` finds the code
        client = node.start()
    with client:
        client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image)))
        pod = run(client, node, sandbox)
        before = pod_status(client, pod)
        scripts = {"runs": LINES, "waits": LINES, "ends": ENDS}
        ids = {name: create(client, pod, sandbox, node.container(script, name)) for name, script in scripts.items()}
        for name in ("runs", "ends"):
            client.StartContainer(api.StartContainerRequest(container_id=ids[name]))
        shell(client, ids["ends"], "(sleep 0.5; touch /tmp/end) &")
        pid = pid_of(client, ids["runs"])
        node.end(signal.SIGKILL)
    with node.start() as client:
        assert pod_status(client, pod) == before
        assert wait_exited(client, ids["ends"]).exit_code == 7
        assert pid_of(client, ids["runs"]) == pid
        assert shell(client, ids["runs"], "echo alive") == b"alive\n"
        client.StartContainer(api.StartContainerRequest(container_id=ids["waits"]))
        stats = client.ListContainerStats(api.ListContainerStatsRequest()).stats
        assert {one.attributes.id for one in stats if one.memory.usage_bytes.value} == {ids["runs"], ids["waits"]}
        rotate(client, ids["runs"], Path(sandbox.log_directory, "runs.log"))
        client.StopContainer(api.StopContainerRequest(container_id=ids["runs"], timeout=0))
        assert wait_exited(client, ids["runs"]).exit_code == 137
        assert_whole(Path(sandbox.log_directory, "runs.log"))
        client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        create(client, run(client, node, sandbox), sandbox, node.container("true"))  # of the image that is here


def rotate(client: CriClient, container: str, log: Path) -> None:
    log.rename(log.with_suffix(".1"))
    client.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container))
    wait_until(lambda: log.exists() and log.stat().st_size > 1000, "the log goes on in a new file")


def assert_whole(log: Path) -> None:
    """No line is missing, in both files together."""
    text = log.with_suffix(".1").read_text() + log.read_text()
    lines = [line.split(" ", 3)[3] for line in text.splitlines()]
    assert lines == [f"line {number}" for number in range(len(lines))]


def newer_schema(base: Path, _pod: str) -> None:
    sql(base, "PRAGMA user_version = 1000")


def newer_record(base: Path, pod: str) -> None:
    sql(base, f"UPDATE record SET version = 1000 WHERE id = '{pod}'")


def newer_lease(base: Path, pod: str) -> None:
    rewrite(base / f"root/leases/{pod}.json")


def sql(base: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(base / "root/metadata.db")) as database, database:
        database.execute(statement)


def rewrite(path: Path) -> None:
    """Make a document one of a version that is not known yet."""
    path.write_text(json.dumps({"version": 1000, "what": "is not known"}))


@pytest.mark.parametrize("change", [newer_schema, newer_record, newer_lease])
def test_what_a_newer_version_has_written_is_refused_and_left_alone(
    node: Node, pods: Pods, client: CriClient, change: Callable[[Path, str], None]
) -> None:
    """A crispd that does not know a pod would take it for a leftover, and its address for a free one."""
    pod, container = pods.start("sleep 1000")
    pid = pid_of(client, container)
    node.end(signal.SIGTERM)
    kept = node.base / "kept"
    shutil.copytree(node.base / "root", kept, symlinks=True, ignore=shutil.ignore_patterns("content", "snapshots"))
    change(node.base, pod)
    node.launch().close()
    assert node.process
    assert node.process.wait(timeout=patient(20)) == 1
    assert (node.base / "crispd.log").read_text().splitlines()[-1].endswith("install the newer Crisp again")
    assert is_running(pid)
    shutil.copytree(kept, node.base / "root", dirs_exist_ok=True)
    with node.start() as again:
        assert shell(again, container, "echo alive") == b"alive\n"


def test_a_pod_whose_shim_is_of_a_newer_version_is_left_alone(node: Node, pods: Pods, client: CriClient) -> None:
    (pod, container), (_, other) = (pods.start("sleep 1000") for _ in range(2))
    pid = pid_of(client, container)
    node.end(signal.SIGTERM)
    identity = node.base / f"run/sandboxes/{pod}/shim.json"
    kept = identity.read_bytes()
    rewrite(identity)
    with node.start() as again:
        assert shell(again, other, "echo alive") == b"alive\n"
        with pytest.raises(grpc.RpcError, match="install the newer Crisp again"):
            again.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert is_running(pid)
        identity.write_bytes(kept)
        wait_until(lambda: is_removed(again, pod), "it is known again, and removed")
        assert not is_running(pid)


def is_removed(client: CriClient, pod: str) -> bool:
    with contextlib.suppress(grpc.RpcError):
        client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        return True
    return False


def run(client: CriClient, node: Node, sandbox: api.PodSandboxConfig) -> str:
    pod = str(client.RunPodSandbox(api.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id)
    node.sandboxes.add(pod)
    return pod


def pod_status(client: CriClient, pod: str) -> Any:
    return client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status


def shell(client: CriClient, container: str, script: str) -> bytes:
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/sh", "-c", script], timeout=20)
    return bytes(client.ExecSync(request).stdout)


def create(client: CriClient, pod: str, sandbox: api.PodSandboxConfig, config: api.ContainerConfig) -> str:
    request = api.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    return str(client.CreateContainer(request).container_id)


def pid_of(client: CriClient, container: str) -> int:
    info: Any = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True)).info
    return int(json.loads(info["info"])["pid"])
