"""Exec as kubectl asks for it: a SPDY session with the streaming server, and cat(1) at its other end."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.daemons import Daemon
from bench.pods import SLEEP, remove_pod, start_pod
from cri import api
from cri.streaming.spdy.frames import Data
from rig.cri_client import CriClient
from rig.spdy_client import SpdyClient

EXECS = 20
PIECE = bytes(32 << 10)
PIECES = 2048  # 64 MiB


def exec_streams(daemon: Daemon, image: str, logs: Path) -> dict[str, float]:
    """From the Exec call to the first byte that comes back, and the MiB/s that go in and come back."""
    with daemon.client() as client:
        pod, container = start_pod(client, "exec", logs, image, SLEEP)
        starts = [_start(client, container) for _ in range(EXECS)]
        rate = _rate(client, container)
        remove_pod(client, pod)
    return {"exec start": statistics.median(starts), "exec MiB/s": rate}


def _start(client: CriClient, container: str) -> float:
    began = time.perf_counter()
    with _cat(client, container) as (session, stdin, stdout):
        session.send(Data(stream_id=stdin, data=b"x"))
        session.until(lambda: session.data[stdout])
        return (time.perf_counter() - began) * 1e3


def _rate(client: CriClient, container: str) -> float:
    with _cat(client, container) as (session, stdin, stdout):
        frame = Data(stream_id=stdin, data=PIECE)
        sender = threading.Thread(target=lambda: [session.send(frame) for _ in range(PIECES)])
        began = time.perf_counter()
        sender.start()
        session.until(lambda: len(session.data[stdout]) == PIECES * len(PIECE))
        elapsed = time.perf_counter() - began
        sender.join()
    return PIECES * len(PIECE) / (1 << 20) / elapsed


@contextlib.contextmanager
def _cat(client: CriClient, container: str) -> Iterator[tuple[SpdyClient, int, int]]:
    """A session with an exec of cat(1), and the ids of its stdin and stdout."""
    request = api.ExecRequest(container_id=container, cmd=["/bin/cat"], stdin=True, stdout=True)
    with SpdyClient(client.Exec(request).url, "v4.channel.k8s.io", timeout=60) as session:
        _error, stdin, stdout = (session.open(streamtype=kind) for kind in ("error", "stdin", "stdout"))
        yield session, stdin, stdout
        session.send(Data(stream_id=stdin, fin=True))
        session.until_ended(stdout)
