"""The gRPC server of crispd: from service descriptors and plain async methods to routes.

A service is an object with one method per RPC, named in snake_case; an RPC without a method is UNIMPLEMENTED. A method
takes the request and returns the response, as a message or as bytes that are ready to send; a streaming one yields.
One that takes a stream of requests gets an iterator. A service with a method `admit` is shown a call's metadata first.
Errors of `core.errdefs` become status codes here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from core import log as logging
from core.errdefs import DeadlineExceeded, InvalidArgument, ResourceExhausted
from core.steps import Call as Noted
from core.telemetry import SILENT, Telemetry
from cri.calls import Calls
from cri.errors import status_of
from cri.grpc.call import Call
from cri.grpc.codes import Code
from cri.grpc.server import Server
from cri.grpc.session import Route
from cri.grpc.wire import MAX_MESSAGE

log = logging.get_logger(__name__)

MARGIN = 0.1
"""Seconds before the client's deadline at which it is told where its call stands; afterwards it would not listen.
Of deadlines below ten times that nothing is taken."""
STALL = 30.0
"""Seconds that a client of a stream may read nothing: far more than the kubelet's longest pause, and an end to what is
held for it."""
LOOKUPS = frozenset({"ContainerStatus", "PodSandboxStatus"})
"""RPCs whose NOT_FOUND is daily bread: the kubelet asks once more after everything that it has removed."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_request_ids = itertools.count(1)
_CRI = "runtime.v1."

Admit = Callable[[Mapping[str, str]], None]
"""Raises an error of `core.errdefs` to keep a call out."""


def make_server(
    services: list[tuple[ServiceDescriptor, object]],
    *,
    stall: float = STALL,
    telemetry: Telemetry = SILENT,
    calls: Calls | None = None,
) -> Server:
    """A server for `services`, not started yet.

    A stream that its client does not read for `stall` seconds is ended. `calls` notes the others.
    """
    noted = calls or Calls()
    routes = {}
    for descriptor, service in services:
        for method in descriptor.methods:
            if implementation := getattr(service, snake_case(method.name), None):
                rpc = _Rpc(
                    name=_name(method),
                    message=GetMessageClass(method.input_type),
                    implementation=implementation,
                    admit=getattr(service, "admit", _everybody),
                    stall=stall,
                    telemetry=telemetry,
                    calls=noted,
                )
                routes[f"/{descriptor.full_name}/{method.name}"] = _route(method, rpc)
    return Server(routes)


def _route(method: MethodDescriptor, rpc: _Rpc) -> Route:
    if method.client_streaming:
        return Route(handler=rpc.converse, takes_stream=True)
    return Route(handler=rpc.stream if method.server_streaming else rpc.answer)


def snake_case(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _everybody(_metadata: Mapping[str, str]) -> None:
    pass


def _name(method: MethodDescriptor) -> str:
    """As logs and metrics call it: CRI's methods by their own names, which are all different."""
    service = method.containing_service
    return method.name if service.full_name.startswith(_CRI) else f"{service.name}.{method.name}"


def _serialize(response: Message | bytes) -> bytes:
    """Raises ResourceExhausted when no client would take it."""
    data = response if isinstance(response, bytes) else response.SerializeToString()
    if len(data) > MAX_MESSAGE:
        raise ResourceExhausted(f"an answer of {len(data)} bytes, {MAX_MESSAGE} are allowed: ask for less")
    return data


R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rpc:
    """A method of a service, as calls meet it."""

    name: str
    message: type[Message]
    """Of its requests."""
    implementation: Callable[[Any], Any]
    admit: Admit
    stall: float
    telemetry: Telemetry
    calls: Calls

    async def answer(self, call: Call) -> None:
        with self._edge(call):
            request = self._parse(call.request)
            traceparent = call.metadata.get("traceparent", "")
            with self.calls.note(self.name, request, traceparent) as noted, _reported(noted, self.telemetry):
                self.admit(call.metadata)
                answer = _serialize(await _in_time(noted, call, self.implementation(request)))
            call.reply(answer)

    async def stream(self, call: Call) -> None:
        await self._stream(call, lambda: self._parse(call.request))

    async def converse(self, call: Call) -> None:
        await self._stream(call, lambda: self._requests(call))

    async def _stream(self, call: Call, read: Callable[[], Any]) -> None:
        with self._edge(call):
            self.admit(call.metadata)
            call.begin()  # an idle stream, too, tells that it is there
            async with contextlib.aclosing(self.implementation(read())) as responses:
                async for response in responses:
                    await _write(call, _serialize(response), self.stall)
            call.finish(Code.OK)

    async def _requests(self, call: Call) -> AsyncIterator[Message]:
        async for data in call.requests():
            yield self._parse(data)

    def _parse(self, data: bytes) -> Message:
        try:
            return self.message.FromString(data)
        except DecodeError as exc:
            raise InvalidArgument(f"{self.name}: the request is no {self.message.DESCRIPTOR.name}") from exc

    @contextlib.contextmanager
    def _edge(self, call: Call) -> Iterator[None]:
        """No error goes beyond."""
        with logging.context(rpc=self.name, request_id=next(_request_ids)):
            try:
                yield
            except Exception as exc:  # noqa: BLE001 - the RPC edge
                _fail(self.name, call, exc)


async def _in_time(noted: Noted, call: Call, answer: Awaitable[R]) -> R:
    """Raises DeadlineExceeded just before the client's deadline, so that it hears which step is slow."""
    left = call.remaining()
    try:
        async with asyncio.timeout(left - MARGIN if left and left > 10 * MARGIN else None) as deadline:
            return await answer
    except TimeoutError as exc:
        if not deadline.expired():
            raise
        raise DeadlineExceeded(
            f"not done {noted.seconds():.1f} s after the call: {noted.slowest() or 'no step was noted'}; "
            "ask again: what goes on is joined"
        ) from exc


@contextlib.contextmanager
def _reported(call: Noted, telemetry: Telemetry) -> Iterator[None]:
    """Report the call before its client has the answer."""
    code = Code.OK
    try:
        yield
    except asyncio.CancelledError:
        code = Code.CANCELLED
        log.info("caller went away", seconds=round(call.seconds(), 3), slowest=call.slowest())
        raise
    except Exception as exc:
        code, _ = status_of(exc)
        raise
    finally:
        call.outcome, seconds = code.name, call.seconds()
        telemetry.cri_call(call.name, call.outcome, seconds)
        if call.is_slow():
            log.warning("slow call", seconds=round(seconds, 3), slowest=call.slowest() or "no step")


async def _write(call: Call, response: bytes, stall: float) -> None:
    """Raises ResourceExhausted when the client has read nothing for `stall` seconds."""
    try:
        async with asyncio.timeout(stall):
            await call.write(response)
    except TimeoutError as exc:
        raise ResourceExhausted(f"nothing was read for {stall:g} s: ask again, and read on") from exc


def _fail(rpc: str, call: Call, exc: Exception) -> None:
    code, message = status_of(exc)
    if code is Code.UNKNOWN:  # nobody planned for it; others name their thing, a command that is absent, say
        log.exception("call failed", error=message)  # noqa: LOG004 - called from the handler
    elif code is Code.INTERNAL:
        log.error("call failed", error=message)
    elif code is Code.NOT_FOUND and rpc in LOOKUPS:
        log.debug("not found", error=message)
    else:
        log.info("call refused", code=code.name, error=message)
    call.finish(code, message)
