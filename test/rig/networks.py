"""A node and pods made of nothing but network namespaces, and a look at what is left in them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from core.linux.ns import CLONE_NEWNET, pin, setns, unpin, unshare
from core.network.network import PodNetwork, PortMapping

T = TypeVar("T")


@contextlib.contextmanager
def node_namespace() -> Iterator[None]:
    """The calling thread, and what it starts, are on a node of their own, with `lo` up, inside the block."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


class Pods:
    """Pod namespaces pinned in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def new(self, number: int = 1, ports: tuple[PortMapping, ...] = (), **annotations: str) -> PodNetwork:
        netns = str(self._directory / f"pod{number}.net")
        in_thread(lambda: (unshare(CLONE_NEWNET), pin("/proc/thread-self/ns/net", netns)))
        inside(netns, lambda: subprocess.run(["ip", "link", "set", "lo", "up"], check=True))
        return PodNetwork(
            id=f"sandbox{number}",
            name=f"web-{number}",
            namespace="default",
            uid=f"uid-{number}",
            netns=netns,
            port_mappings=ports,
            annotations={key.replace("__", "/").replace("_", "-"): value for key, value in annotations.items()},
        )

    def end(self, pod: PodNetwork) -> None:
        unpin(pod.netns)

    def end_all(self) -> None:
        for path in self._directory.glob("*.net"):
            unpin(str(path))


def in_thread(call: Callable[[], T]) -> T:
    """`call` in a thread of its own, which may change its namespaces."""
    outcome: list[T] = []
    thread = threading.Thread(target=lambda: outcome.append(call()))
    thread.start()
    thread.join()
    return outcome[0]


def inside(netns: str, call: Callable[[], T]) -> T:
    """`call` inside the pod's namespace."""

    def enter() -> T:
        fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        setns(fd, CLONE_NEWNET)
        os.close(fd)
        return call()

    return in_thread(enter)


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def links() -> set[str]:
    """Names of the interfaces of the calling thread's namespace, without `lo`."""
    return {line.split()[1].split("@")[0].rstrip(":") for line in output("ip", "-o", "link").splitlines()} - {"lo"}


def rules_naming(*words: str) -> list[str]:
    """Lines of the packet filter of the calling thread's namespace that have one of `words` in them."""
    return [line.strip() for line in output("nft", "list", "ruleset").splitlines() if any(w in line for w in words)]
