"""Reading a log file: its last lines, and what is added to it, across the kubelet's rotation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from cri.cli.cri_log import parse

CHUNK = 64 << 10
POLL = 0.1
"""Seconds between two looks at a file that is followed."""


def tail_start(file: BinaryIO, lines: int) -> int:
    """The offset where the last `lines` whole lines begin; a line in several partial entries is one."""
    start = file.seek(0, os.SEEK_END)
    for offset, raw in _lines_backwards(file):
        entry = parse(raw)
        if entry is None or entry.full:
            lines -= 1
        if lines < 0:
            break
        start = offset
    return start


def _lines_backwards(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line with its offset, the last first; the end of the file counts as the end of a line."""
    position = file.seek(0, os.SEEK_END)
    held = b""
    while position:
        step = min(CHUNK, position)
        position -= step
        file.seek(position)
        block = file.read(step) + held
        held, *lines = block.split(b"\n")
        offset = position + len(block)
        for line in reversed(lines):
            offset -= len(line)
            if line:
                yield offset, line
            offset -= 1
    if held:
        yield 0, held


def read(path: str, lines: int | None, more: Callable[[], bool]) -> Iterator[bytes]:
    """What is in the log at `path`, from its last `lines` lines on (None: all), and what comes until `more` is false.

    A file that is renamed is read to its end, then the one that took its place. Raises FileNotFoundError when there is
    no file and no more to come.
    """
    file = _opened(path, more)
    try:
        file.seek(0 if lines is None else tail_start(file, lines))
        while True:
            last = not more()  # asked before reading: what was written by then is read
            yield from _rest(file)
            if successor := _successor(path, file):
                yield from _rest(file)
                file.close()
                file = successor
            elif last:
                return
            else:
                time.sleep(POLL)
    finally:
        file.close()


def _opened(path: str, more: Callable[[], bool]) -> BinaryIO:
    while True:
        last = not more()
        try:
            return open(path, "rb", buffering=0)
        except FileNotFoundError:
            if last:
                raise
        time.sleep(POLL)


def _rest(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK):
        yield data


def _successor(path: str, file: BinaryIO) -> BinaryIO | None:
    """The file at `path` when it is another than `file`: the shim has reopened its log after a rotation."""
    try:
        candidate = open(path, "rb", buffering=0)  # noqa: SIM115 - the caller's, when it is another
    except FileNotFoundError:
        return None  # renamed, and not yet reopened
    if os.path.sameopenfile(candidate.fileno(), file.fileno()):
        candidate.close()
        return None
    return candidate
