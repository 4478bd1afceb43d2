"""What a process writes, from a pipe or pty to a sink, without ever holding the process up."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

from core.shim.log_format import LogFormatter
from core.shim.logs import LogFile, stamp

PIPE_SIZE = 256 << 10
"""Bytes in a pipe before its writer blocks: what a flood brings while the reader rests; the kernel allocates pages only
as they fill."""
PIECE = 32 << 10
"""Bytes of one read. Twice as much costs twice the processor time for each byte: malloc then gives the pages of its
copies back to the kernel and faults them in again, piece after piece."""
FLOOD = 4 << 10
"""Bytes found at once that tell of more to come: a page, which is what C's stdio writes at once into a pipe."""
REST = 0.001
"""Seconds until a flood that was read to its end is looked at again. Woken for each page of it, the reader spends its
time with waking up: 13.6 ms of processor time for a MiB of 100-byte lines, against 2.7."""
DRAIN = 10.0
"""Seconds that output may still come after a process has ended, from children that hold its pipe (hazards 3.39)."""

Sink = Callable[[bytes], None]
"""Takes what was read; b"" at the end."""


class Pump:
    """Reads a descriptor, which it owns, into a sink until its end."""

    def __init__(self, fd: int, sink: Sink) -> None:
        self._fd = fd
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._is_reading = False
        self.finished = asyncio.Event()
        os.set_blocking(fd, False)
        self.resume()

    @property
    def fd(self) -> int:
        """What it reads; -1 after its end."""
        return -1 if self.finished.is_set() else self._fd

    def resume(self) -> None:
        """Read on; from the start."""
        if not self.finished.is_set():
            self._is_reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def pause(self) -> None:
        """Leave what comes where it is, until `resume`: the process waits when there is no more room."""
        self._is_reading = False
        self._loop.remove_reader(self._fd)

    def take(self) -> None:
        """Take what is there now. Of a FIFO that is the end when nobody has it open for writing any more."""
        if not self.finished.is_set():
            self._read()

    async def drain(self, timeout: float = DRAIN) -> None:
        """Wait for the end, at most `timeout` seconds; then take what is there and close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.finished.wait()
        self.close()

    def close(self) -> None:
        """Take what is in the pipe and end. Idempotent."""
        while not self.finished.is_set() and self._read():
            pass
        self._end()

    def _on_readable(self) -> None:
        """Take what is there, as far as the sink lets us; when that was a part of a flood, let more come first."""
        taken = size = self._read()
        while size == PIECE and taken < PIPE_SIZE and self._is_reading:
            size = self._read()
            taken += size
        if FLOOD <= taken < PIPE_SIZE and self._is_reading:
            self._loop.remove_reader(self._fd)
            self._loop.call_later(REST, self._go_on)

    def _go_on(self) -> None:
        if self._is_reading:
            self.resume()

    def _read(self) -> int:
        """Pass on what one read finds; how many bytes, 0 when there are none now, or no more."""
        try:
            data = os.read(self._fd, PIECE)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last holder of the pty's other side is gone
            data = b""
        if data:
            self._sink(data)
        else:
            self._end()
        return len(data)

    def _end(self) -> None:
        if not self.finished.is_set():
            self.pause()
            os.close(self._fd)
            self.finished.set()
            self._sink(b"")


class LogSink:
    """A sink that writes entries of `stream` into a log."""

    def __init__(self, log: LogFile, stream: str) -> None:
        self._log = log
        self._formatter = LogFormatter(stream)

    def __call__(self, data: bytes) -> None:
        formatter = self._formatter
        entries = formatter.feed(data, stamp()) if data else formatter.finish(stamp())
        self._log.write(entries, *formatter.made())

    @property
    def held(self) -> bytes:
        """The beginning of a line whose end has not been written yet."""
        return self._formatter.held

    @held.setter
    def held(self, data: bytes) -> None:
        self._formatter.held = data


def pipe() -> tuple[int, int]:
    """A large pipe: read end, write end."""
    read, write = os.pipe()
    with contextlib.suppress(OSError):  # over fs.pipe-user-pages-soft: the default size does
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return read, write


def no_input() -> int:
    """A stdin that is at its end.

    Not /dev/null: crun gives the standard streams of an exec to the container's user (fchown), who could then take the
    node's own device from everybody else (fchmod).
    """
    read, write = os.pipe()
    os.close(write)
    return read


def no_output(until: contextlib.ExitStack) -> int:
    """A stdout that is read and dropped `until` closes. Not /dev/null, see no_input."""
    read, write = pipe()
    drop_output(read, until)
    return write


def drop_output(fd: int, until: contextlib.ExitStack) -> None:
    """Read `fd`, which it owns, and drop what comes `until` closes."""
    until.callback(Pump(fd, lambda _: None).close)


def open_stdin(path: str) -> tuple[int, int]:
    """A process's end of its stdin FIFO in the shim v2 contract, and a writing end that keeps the process from seeing
    the end of its input until CloseIO, however its client comes and goes; no input and -1 for ""."""
    if not path:
        return no_input(), -1
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except BaseException:
        os.close(reading)
        raise
    os.set_blocking(reading, True)
    return reading, writing


def open_fifo(path: str) -> int:
    """One end of a FIFO of the shim v2 contract. Opened for both directions, so that it neither waits for the other end
    nor breaks while that is away."""
    return os.open(path, os.O_RDWR | os.O_NOCTTY)


class FifoPump:
    """Pumps a descriptor, which it owns, into the FIFO at `path`.

    A reader that stalls or has gone stalls the process, not us: what the FIFO has no room for stays where it is.
    """

    def __init__(self, fd: int, path: str) -> None:
        self._fifo = open_fifo(path)
        os.set_blocking(self._fifo, False)
        self._rest = b""
        self._pump = Pump(fd, self._write)

    async def drain(self, timeout: float = DRAIN) -> None:
        """As Pump's."""
        await self._pump.drain(timeout)

    def close(self) -> None:
        """As Pump's; what the FIFO has no room for is lost."""
        self._pump.close()

    def _write(self, data: bytes) -> None:
        if not data:
            asyncio.get_running_loop().remove_writer(self._fifo)
            os.close(self._fifo)
        elif not self._rest:  # else this is the end, and nobody reads
            self._rest = self._put(data)
            if self._rest:
                self._pump.pause()
                asyncio.get_running_loop().add_writer(self._fifo, self._go_on)

    def _go_on(self) -> None:
        self._rest = self._put(self._rest)
        if not self._rest:
            asyncio.get_running_loop().remove_writer(self._fifo)
            self._pump.resume()

    def _put(self, data: bytes) -> bytes:
        """Write what there is room for; return the rest."""
        try:
            return data[os.write(self._fifo, data) :]
        except BlockingIOError:
            return data
