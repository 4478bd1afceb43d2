"""Shims that are not ours, by the binary interface of shim v2 (containerd, core/runtime/v2/README.md, "Commands").

    <binary> -namespace N -id I -address A -publish-binary P start     in the bundle's directory; answers with a socket
    <binary> … -bundle B delete                                        ends what a dead shim left of one container

They inherit nothing of ours and outlive us as ours do. What they have to say goes into `log` in the bundle: a file, not
the FIFO that containerd has there, so that it can be read when they are dead, and they never wait for us.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass

import msgspec

from core.errdefs import DeadlineExceeded, Internal, InvalidArgument, Unavailable
from core.log import get_logger

log = get_logger(__name__)

START = 20.0  # seconds for `start`, which takes some ten milliseconds; more on a node that is just booting
DELETE = 10.0  # seconds for `delete`: containerd grants 5, and then nobody ends the container
_SCHEME = "unix://"
_NOBODY = "/bin/true"
"""What publishes events of shims that know no TTRPC_ADDRESS, and those are none of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a shim answers."""

    socket: str
    task_api: int
    """Version of its Task service, 2 or 3."""


class _Answer(msgspec.Struct):
    """What `start` prints since containerd 1.7; before it was the bare address, and version 2."""

    address: str
    version: int = 2
    protocol: str = "ttrpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignShim:
    """Calls of one binary."""

    binary: str
    namespace: str
    events: str
    """Socket that the shims tell their events to, over ttrpc."""

    async def start(self, sandbox_id: str, bundle: str) -> Endpoint:
        """Start the shim of the pod whose root container has this bundle; one that runs for it already answers.

        Raises Unavailable with the binary's words, DeadlineExceeded, Internal for an answer that makes no sense.
        """
        os.close(os.open(os.path.join(bundle, "log"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        answer = await self._call(bundle, START, "-id", sandbox_id, "start")
        return parse_answer(answer)

    async def delete(self, container_id: str, bundle: str) -> None:
        """End what is left of the container. Success when nothing is. Raises Unavailable, DeadlineExceeded."""
        await self._call(bundle, DELETE, "-id", container_id, "-bundle", bundle, "delete")

    async def _call(self, bundle: str, timeout: float, *arguments: str) -> bytes:
        common = ("-namespace", self.namespace, "-address", self.events, "-publish-binary", _NOBODY)
        environment = {**os.environ, "TTRPC_ADDRESS": self.events, "NAMESPACE": self.namespace}
        try:
            process = await asyncio.create_subprocess_exec(
                self.binary, *common, *arguments, cwd=bundle, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
        except OSError as exc:
            raise Unavailable(f"shim {self.binary}: {exc.strerror}") from exc
        try:
            async with asyncio.timeout(timeout):
                out, said = await process.communicate()
        except BaseException as exc:
            process.kill()
            await process.wait()
            if isinstance(exc, TimeoutError):
                raise DeadlineExceeded(f"shim {self.binary} {arguments[-1]}: no answer in {timeout:g} s") from exc
            raise
        if process.returncode:
            raise Unavailable(f"shim {self.binary} {arguments[-1]}: {said.decode(errors='replace').strip()[:2048]}")
        return out


def parse_answer(answer: bytes) -> Endpoint:
    """Raises Internal."""
    text = answer.strip()
    try:
        found = msgspec.json.decode(text, type=_Answer) if text.startswith(b"{") else _Answer(address=text.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Internal(f"shim's answer {answer[:160]!r}: {exc}") from exc
    if found.protocol != "ttrpc" or not found.address.startswith(_SCHEME) or found.version not in (2, 3):
        raise Internal(f"shim's answer {answer[:160]!r}: want ttrpc on a unix socket, and task API 2 or 3")
    return Endpoint(socket=found.address.removeprefix(_SCHEME), task_api=found.version)


def binary_name(runtime_type: str) -> str:
    """The binary of a runtime type: `io.containerd.runc.v2` is containerd-shim-runc-v2; a path is itself.

    Raises InvalidArgument.
    """
    if runtime_type.startswith("/"):
        return runtime_type
    parts = runtime_type.split(".")
    if len(parts) < 3 or not all(parts) or "/" in runtime_type:
        raise InvalidArgument(f"runtime type {runtime_type!r}: want a name like io.containerd.runc.v2, or a path")
    return f"containerd-shim-{parts[-2]}-{parts[-1]}"
