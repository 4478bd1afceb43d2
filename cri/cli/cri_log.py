"""The CRI log format: `<RFC3339Nano> <stream> <P|F> <line>` (kubelet, kuberuntime/logs). No file in here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FULL = b"F"
PARTIAL = b"P"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    time: bytes
    stream: bytes
    text: bytes
    """Without the newline that a full entry ends with."""
    full: bool
    """False: the line goes on in the stream's next entry."""


class Parser:
    """Turns a log's bytes, in pieces of any size, into entries; passes over what is none, as the kubelet does."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Entry]:
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            if (entry := parse(line)) is not None:
                yield entry


def parse(line: bytes) -> Entry | None:
    """The entry in `line`, which has no newline; None when it is none."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    time, stream, tags, text = parts
    tag = tags.partition(b":")[0]  # further tags may follow a colon
    if tag not in (FULL, PARTIAL):
        return None
    return Entry(time=time, stream=stream, text=text, full=tag == FULL)
