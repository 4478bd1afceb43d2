"""Looking into a pod's network namespace without taking the daemon there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from core.linux.ns import CLONE_NEWNET, setns

T = TypeVar("T")

_MAX_DEV = 1 << 20  # bytes of /proc/net/dev: some thousands of interfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceStats:
    """Counters of an interface since it was made."""

    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int


def inside(netns: str, call: Callable[[], T]) -> T:
    """Return what `call` returns in a throw-away thread inside the namespace at path `netns`; it must not hang.

    Never a thread that lives on: one that cannot get back would do the daemon's work in a pod. Raises what `call` and
    setns(2) raise.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                setns(fd, CLONE_NEWNET)
            finally:
                os.close(fd)
            outcome.append(call())
        except BaseException as exc:  # noqa: BLE001 - the caller's thread raises it again
            failure.append(exc)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def socket_in(netns: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of the namespace at `netns` ("" is the caller's); it stays there, whoever uses it. Raises OSError."""
    if not netns:
        return socket.socket(family, kind, protocol)
    return inside(netns, lambda: socket.socket(family, kind, protocol))


def interface_stats(netns: str) -> Mapping[str, InterfaceStats]:
    """Counters of all interfaces in the namespace at `netns`. Raises OSError."""
    return parse_dev(inside(netns, _read_dev))


def parse_dev(content: str) -> Mapping[str, InterfaceStats]:
    """/proc/net/dev: two lines of heading, then per interface 8 counters received and 8 sent (man 5 proc)."""
    stats = {}
    for line in content.splitlines()[2:]:
        name, _, counters = line.rpartition(":")
        rx_bytes, _, rx_errors, _, _, _, _, _, tx_bytes, _, tx_errors, *_ = map(int, counters.split())
        stats[name.strip()] = InterfaceStats(
            rx_bytes=rx_bytes, rx_errors=rx_errors, tx_bytes=tx_bytes, tx_errors=tx_errors
        )
    return stats


def _read_dev() -> str:
    fd = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MAX_DEV).decode()
    finally:
        os.close(fd)
