"""Streams without a shim: a test plays the process."""

from __future__ import annotations

import asyncio

from core.errdefs import FailedPrecondition, NotFound
from core.tasks.streams import ByteSink, ByteSource, ContainerStreams, ExecSpec, ExecStreams, Streams

CAPACITY = 64
"""Chunks that a FakePipe holds before its writer waits."""


class FakePipe:
    """Both ends of a pipe in memory."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(CAPACITY)
        self._rest = b""
        self._ended = False
        self.closed = False

    async def read(self, size: int) -> bytes:
        if not self._rest and not self._ended:
            self._rest = await self._chunks.get()
            self._ended = not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def write(self, data: bytes) -> None:
        if self.closed:
            raise FailedPrecondition("stdin is closed")
        if data:
            await self._chunks.put(data)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await self._chunks.put(b"")


class FakeStreams:
    """The process reads `input` and writes `output` and `errors`."""

    def __init__(self, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.input, self.output, self.errors = FakePipe(), FakePipe(), FakePipe()
        self.stdin: ByteSink | None = self.input if stdin else None
        self.stdout: ByteSource | None = self.output if stdout else None
        self.stderr: ByteSource | None = self.errors if stderr and not tty else None
        self.sizes: list[tuple[int, int]] = []
        self.closed = asyncio.Event()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def close(self) -> None:
        self.closed.set()


class FakeExec(FakeStreams):
    """`exit` ends it as its process would."""

    def __init__(self, spec: ExecSpec) -> None:
        super().__init__(tty=spec.tty, stdin=spec.stdin, stdout=spec.stdout, stderr=spec.stderr)
        self.spec = spec
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def kill(self) -> None:
        await self.exit(137)

    async def exit(self, code: int) -> None:
        await self.output.close()
        await self.errors.close()
        if not self._code.done():
            self._code.set_result(code)


class FakeContainerStreams:
    """Containers named in `running`; what was opened, in order."""

    def __init__(self, *running: str) -> None:
        self.running = set(running)
        self.terminals: set[str] = set()
        self.execs: list[FakeExec] = []
        self.attached: list[FakeStreams] = []

    async def exec(self, container_id: str, spec: ExecSpec) -> FakeExec:
        self._require(container_id)
        self.execs.append(FakeExec(spec))
        return self.execs[-1]

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool) -> FakeStreams:
        self._require(container_id)
        tty = container_id in self.terminals
        self.attached.append(FakeStreams(tty=tty, stdin=stdin, stdout=stdout, stderr=stderr))
        return self.attached[-1]

    def _require(self, container_id: str) -> None:
        if container_id not in self.running:
            raise NotFound(f"container {container_id}")


_streams_fit: type[Streams] = FakeStreams
_execs_fit: type[ExecStreams] = FakeExec
_containers_fit: type[ContainerStreams] = FakeContainerStreams
