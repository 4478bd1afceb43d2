"""Making a pod's network namespace, and looking into it, without taking the daemon there."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from core.linux.ns import CLONE_NEWNET, pin, setns, unpin, unshare
from core.shim.namespaces import bring_up

T = TypeVar("T")

_MAX_DEV = 1 << 20  # bytes of /proc/net/dev: some thousands of interfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceStats:
    """Counters of an interface since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def make(netns: str) -> None:
    """Make a network namespace with `lo` up, and pin it at path `netns`. On failure none is left. Raises OSError."""

    def visit() -> None:
        unshare(CLONE_NEWNET)
        bring_up("lo")
        with contextlib.ExitStack() as undo:
            undo.callback(unpin, netns)
            pin("/proc/thread-self/ns/net", netns)
            undo.pop_all()

    _apart(visit)


def inside(netns: str, call: Callable[[], T]) -> T:
    """Return what `call` returns in a throw-away thread inside the namespace at path `netns`; it must not hang.

    Raises what `call` and setns(2) raise.
    """

    def visit() -> T:
        _enter(netns)
        return call()

    return _apart(visit)


def _enter(netns: str) -> None:
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWNET)
    finally:
        os.close(fd)


def _apart(call: Callable[[], T]) -> T:
    """Return what `call` returns in a throw-away thread, never in one that lives on: a thread that cannot get back
    would do the daemon's work in a pod."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
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


def interface_stats(namespaces: Iterable[str]) -> Mapping[str, Mapping[str, InterfaceStats]]:
    """Counters of all interfaces by name, in each of the namespaces by path; one that is gone is left out.

    One thread visits them all: starting one costs more than a visit.
    """

    def visit() -> dict[str, Mapping[str, InterfaceStats]]:
        found = {}
        for netns in namespaces:
            with contextlib.suppress(OSError):
                _enter(netns)
                found[netns] = parse_dev(_read_dev())
        return found

    return _apart(visit)


def parse_dev(content: str) -> Mapping[str, InterfaceStats]:
    """/proc/net/dev: two lines of heading, then per interface 8 counters received and 8 sent (man 5 proc)."""
    stats = {}
    for line in content.splitlines()[2:]:
        name, _, counters = line.rpartition(":")
        received, sent = (values := list(map(int, counters.split())))[:8], values[8:]
        stats[name.strip()] = InterfaceStats(
            rx_bytes=received[0],
            rx_packets=received[1],
            rx_errors=received[2],
            rx_dropped=received[3],
            tx_bytes=sent[0],
            tx_packets=sent[1],
            tx_errors=sent[2],
            tx_dropped=sent[3],
        )
    return stats


def _read_dev() -> str:
    fd = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MAX_DEV).decode()
    finally:
        os.close(fd)
