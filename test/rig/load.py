"""What keeps a node busy: callers that each repeat one thing, well-behaved and hostile ones, until they are stopped."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import grpc

from cri import api
from rig.cri_client import CriClient
from rig.node import Node
from rig.patience import patient

Once = Callable[[], None]
_CUT_OFF = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What calls end with when the daemon is killed under them."""


class Load:
    """Threads that each repeat their thing; all of them stand still inside `quiet`."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        """What nobody expects, by who met it and what it was."""
        self._ending = threading.Event()
        self._turns: list[threading.Lock] = []
        self._threads: list[threading.Thread] = []

    def add(self, name: str, once: Once, *, pause: float = 0.0) -> None:
        """Do it again and again, `pause` seconds apart."""
        turn = threading.Lock()
        self._turns.append(turn)
        self._threads.append(threading.Thread(target=self._repeat, args=(name, once, pause, turn)))
        self._threads[-1].start()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for turn in self._turns:
                stack.enter_context(turn)
            yield

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, name: str, once: Once, pause: float, turn: threading.Lock) -> None:
        while not self._ending.wait(pause or 0.001):  # else whoever wants quiet may never get the turn
            with turn:
                try:
                    once()
                    self.done[name] += 1
                except grpc.RpcError as exc:
                    self._failed(name, exc)
                except OSError:
                    self.done[f"{name}, hung up on"] += 1

    def _failed(self, name: str, exc: grpc.RpcError) -> None:
        assert isinstance(exc, grpc.Call)
        if exc.code() in _CUT_OFF:
            self.done[f"{name}, cut off"] += 1
        else:
            self.failed[f"{name}: {exc.code().name} {exc.details()}"] += 1


class Users:
    """The things that are repeated, to a node with containers that run on."""

    def __init__(self, node: Node, client: CriClient, containers: Sequence[str], other_image: str) -> None:
        self._node = node
        self._client = client
        self._containers = containers
        self._other = api.ImageSpec(image=other_image)

    def probe(self) -> None:
        request = api.ExecSyncRequest(container_id=self._any(), cmd=["/bin/echo", "well"], timeout=int(patient(10)))
        reply = self._client.ExecSync(request)
        if (reply.exit_code, reply.stdout) != (0, b"well\n"):
            raise AssertionError(f"probe: {reply}")

    def look(self) -> None:
        self._client.ListContainers(api.ListContainersRequest())
        self._client.ListContainerStats(api.ListContainerStatsRequest())
        self._client.ContainerStatus(api.ContainerStatusRequest(container_id=self._any(), verbose=True))

    def churn(self) -> None:
        """A pod's whole life; what is cut off is removed all the same."""
        config = self._node.pod()
        try:
            pod = self._client.RunPodSandbox(api.RunPodSandboxRequest(config=config)).pod_sandbox_id
            request = api.CreateContainerRequest(
                pod_sandbox_id=pod, config=self._node.container("exec sleep 1000"), sandbox_config=config
            )
            container = self._client.CreateContainer(request).container_id
            self._client.StartContainer(api.StartContainerRequest(container_id=container))
        finally:
            self.remove(config.metadata.uid)

    def remove(self, uid: str) -> None:
        for attempt in range(100):
            try:
                wanted = api.PodSandboxFilter(label_selector={"uid": uid})
                for pod in self._client.ListPodSandbox(api.ListPodSandboxRequest(filter=wanted)).items:
                    self._client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod.id))
                    self._client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
                return
            except grpc.RpcError:
                if attempt == 99:
                    raise
                time.sleep(0.1)  # the daemon may be starting

    def pull(self) -> None:
        self._client.PullImage(api.PullImageRequest(image=self._other))
        self._client.RemoveImage(api.RemoveImageRequest(image=self._other))

    def cut_attach(self) -> None:
        """Attach, and vanish without a word."""
        with self._session(self._attach_url()) as session:
            session.recv(100)

    def slow_reader(self) -> None:
        """Ask for more than is ever read."""
        request = api.ExecRequest(
            container_id=self._any(), cmd=["/bin/head", "-c", "20000000", "/dev/zero"], stdout=True
        )
        with self._session(self._client.Exec(request).url) as session:
            for _ in range(10):
                session.recv(100)
                time.sleep(0.05)  # this is what makes it slow

    def half_open(self) -> None:
        """Begin a request, and never end it."""
        parts = urlsplit(self._attach_url())
        with _connection(parts.hostname or "", parts.port or 0) as connection:
            connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost:".encode())
            time.sleep(0.5)  # it is open for so long

    def deaf_watcher(self) -> None:
        """Ask for events, take one at most, and vanish."""
        with contextlib.suppress(grpc.RpcError):
            next(self._client.GetContainerEvents(api.GetEventsRequest(), timeout=1), None)

    def _attach_url(self) -> str:
        request = api.AttachRequest(container_id=self._any(), stdout=True, stderr=True)
        return str(self._client.Attach(request).url)

    def _any(self) -> str:
        return random.choice(self._containers)

    @contextlib.contextmanager
    def _session(self, url: str) -> Iterator[socket.socket]:
        """A WebSocket that is reset at the end of the block."""
        parts = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
        )
        with _connection(parts.hostname or "", parts.port or 0) as connection:
            connection.sendall(head.encode())
            yield connection


@contextlib.contextmanager
def _connection(host: str, port: int) -> Iterator[socket.socket]:
    """Reset at the end of the block; next to nothing waits in the kernel."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(patient(20))
        connection.connect((host, port))
        yield connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
