"""Decompress in a thread while the main thread makes files: both sides spend their time without the GIL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Self

DEPTH = 4  # pieces: enough to even out a directory of small files, and 4 MiB of memory
_WAIT = 0.1  # seconds until a full queue looks whether the reader has gone


class ReadAhead:
    """Runs `produce()` in a thread; called, it returns the next piece, b"" at the end, and raises what that raised.

    A context manager: leaving it stops the thread, after the piece that it is working on.
    """

    def __init__(self, produce: Callable[[], Iterator[bytes]]) -> None:
        self._produce = produce
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decompress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()

    def __call__(self) -> bytes:
        piece = self._pieces.get()
        if isinstance(piece, BaseException):
            self._pieces.put(piece)  # it is the last thing in there: say it again to whoever asks again
            raise piece
        if not piece:
            self._pieces.put(piece)
        return piece

    def _run(self) -> None:
        try:
            for piece in self._produce():
                if not self._put(piece):
                    return
            self._put(b"")
        except BaseException as exc:  # noqa: BLE001 - a thread's edge: raised again in the reader
            self._put(exc)

    def _put(self, piece: bytes | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._pieces.put(piece, timeout=_WAIT)
            except queue.Full:
                continue
            return True
        return False
