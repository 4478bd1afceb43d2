"""Streams: one client's hold on the standard streams of a process, an exec's own or a container's first one.

    exec    starts a process for this client alone; whoever lets go of it ends it
    attach  joins a container: every client sees its output from now on and may type; the container never notices

The bytes do not pass through the shim where they need not: its pipes and terminals are handed to us as descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class ByteSource(Protocol):
    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`, as soon as there are any; b"" at the end, and ever after it.

        One reader at a time. Raises ResourceExhausted when this client of an attach read so slowly that it was dropped:
        64 MiB behind, for the container and its log wait for nobody.
        """


class ByteSink(Protocol):
    async def write(self, data: bytes) -> None:
        """Write all of `data`; waits while the process does not read.

        Raises FailedPrecondition when nobody will ever read it: the process has closed its stdin or has ended, or we
        have. Cancelled in the middle, a part may be written.
        """

    async def close(self) -> None:
        """Half-close: the process reads an end of file, unless its stdin is a terminal or shared. Idempotent.

        On an attach to a container that keeps its stdin (no stdin_once, or a terminal) it ends the attach instead, and
        the sources end, as both peers do.
        """


class Streams(Protocol):
    """Open until `close`, which is due however the streams end; best as the exit of a `try` or stack."""

    @property
    def stdin(self) -> ByteSink | None:
        """None when it was not asked for, or the container has none (any more)."""

    @property
    def stdout(self) -> ByteSource | None:
        """None when it was not asked for."""

    @property
    def stderr(self) -> ByteSource | None:
        """None when it was not asked for, and with a terminal, whose one output is stdout."""

    async def resize(self, width: int, height: int) -> None:
        """Columns and rows of the terminal, a container's own included; nothing without one, or after the end."""

    async def close(self) -> None:
        """Let go. The process of an exec is killed with all it started; that of an attach lives on. Idempotent."""


class ExecStreams(Streams, Protocol):
    async def wait(self) -> int:
        """The exit code, 0-255, 128 + signal for a process that a signal ended. Any number of waiters.

        Known when the process has ended, whether or not its output has been read: read the sources to their ends for
        that. They end DRAIN seconds after the process at the latest, though children of it hold them open (hazards
        3.39). Raises Unavailable when the shim is gone, FailedPrecondition after `close`.
        """

    async def kill(self) -> None:
        """SIGKILL the process and all it started; `wait` then returns. Success when it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """What a client wants to run. At least one stream; CRI allows no `stderr` with `tty`."""

    args: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


class ContainerStreams(Protocol):
    """Streams by container id, for whoever serves clients: `cri.container.streams` has it for CRI's containers."""

    async def exec(self, container_id: str, spec: ExecSpec) -> ExecStreams:
        """Start `spec` in the container, as its user and in its environment.

        Raises NotFound, FailedPrecondition (not running), InvalidArgument (no command), NotExecutable, Internal with
        the OCI runtime's words, Unavailable (no shim). Cancelled in the middle, nothing of it runs on.
        """

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Streams:
        """Join the container; its output from now on, nothing earlier. The sources end when it does.

        Raises NotFound, FailedPrecondition (not running), Unavailable (no shim).
        """
