"""The CRI log format, by chunk: `<RFC3339Nano> <stream> <P|F> <line>` (kubelet, kuberuntime/logs).

Formatting line by line costs a Python call a line; formatting a chunk is one `bytes.replace`. All lines that arrive in
one read get one timestamp: they were written within the same moment. No file and no clock in here.
"""

from __future__ import annotations

MAX_LINE = 16 << 10
"""Bytes of a line before it is split into P entries, as both peers do: readers may rely on it for their buffers."""


class LogFormatter:
    """Turns what one stream of a container writes into log entries. Holds back at most MAX_LINE bytes."""

    def __init__(self, stream: str, max_line: int = MAX_LINE) -> None:
        self._tags = {tag: f" {stream} {tag} ".encode() for tag in "FP"}
        self._max_line = max_line
        self.held = b""
        """The beginning of a line, without its entry."""
        self._lines_made = 0
        self._split = 0

    def feed(self, data: bytes, stamp: bytes) -> bytes:
        """Entries for all lines that `data` completes, and for what no longer fits a line."""
        if self.held:
            data = self.held + data
        end = data.rfind(b"\n") + 1
        if not end:
            entries, self.held = self._cut(data, stamp)
            return entries
        entries, self.held = self._cut(data[end:], stamp)
        return self._lines(data[:end], stamp) + entries

    def finish(self, stamp: bytes) -> bytes:
        """An entry for a last line without newline: partial, as containerd has it."""
        held, self.held = self.held, b""
        if not held:
            return b""
        self._lines_made += 1
        self._split += 1
        return stamp + self._tags["P"] + held + b"\n"

    def made(self) -> tuple[int, int]:
        """Entries since the last time that this was asked, and how many of them are partial."""
        made = self._lines_made, self._split
        self._lines_made = self._split = 0
        return made

    def _lines(self, whole: bytes, stamp: bytes) -> bytes:
        """`whole` ends with a newline."""
        if self._has_long(whole):
            return b"".join(self._line(line, stamp) for line in whole[:-1].split(b"\n"))
        prefix = stamp + self._tags["F"]
        entries = prefix + whole[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
        self._lines_made += (len(entries) - len(whole)) // len(prefix)  # each line has got one
        return entries

    def _has_long(self, whole: bytes) -> bool:
        """Whether a line exceeds the limit: jumps from newline to newline, each time as far as a line may reach."""
        position = 0
        while position < len(whole):
            newline = whole.rfind(b"\n", position, position + self._max_line + 1)
            if newline < 0:
                return True
            position = newline + 1
        return False

    def _line(self, line: bytes, stamp: bytes) -> bytes:
        partial, rest = self._cut(line, stamp)
        self._lines_made += 1
        return partial + stamp + self._tags["F"] + rest + b"\n"

    def _cut(self, line: bytes, stamp: bytes) -> tuple[bytes, bytes]:
        """P entries for what exceeds the limit, and the rest."""
        if len(line) <= self._max_line:
            return b"", line
        prefix = stamp + self._tags["P"]
        pieces_before = (len(line) - 1) // self._max_line
        self._lines_made += pieces_before
        self._split += pieces_before
        last = pieces_before * self._max_line
        pieces = (line[start : start + self._max_line] for start in range(0, last, self._max_line))
        return b"".join(prefix + piece + b"\n" for piece in pieces), line[last:]
