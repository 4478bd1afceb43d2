"""The gRPC server: from service descriptors and plain async methods to a socket.

A service is an object with one method per RPC, named in snake_case; an RPC without a method is UNIMPLEMENTED. A method
takes the request and returns the response, as a message or as bytes that are ready to send; a streaming one yields.
One that takes a stream of requests gets an iterator. A service with a method `admit` is shown a call's metadata first.
Errors of `core.errdefs` become status codes here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core import log as logging
from core.errdefs import DeadlineExceeded, ResourceExhausted
from core.steps import Call
from core.telemetry import SILENT, Telemetry
from cri.calls import Calls
from cri.errors import status_of

log = logging.get_logger(__name__)

MAX_MESSAGE = 16 << 20
"""Bytes, both ways: what the kubelet's CRI client allows (hazards, "kubelet→CRI timeouts")."""
MARGIN = 0.1
"""Seconds before the client's deadline at which it is told where its call stands; afterwards it would not listen.
Of deadlines below ten times that nothing is taken."""
STALL = 30.0
"""Seconds that a client of a stream may read nothing: far more than the kubelet's longest pause, and an end to what is
held for it."""
MAX_PENDING = 10_000
"""Calls that may wait until the loop comes to them; a kubelet and its probes on a full node have some hundreds. From
gRPC's default of 1,000 on it ends some of them, at random, as if their client had cancelled them."""
LOOKUPS = frozenset({"ContainerStatus", "PodSandboxStatus"})
"""RPCs whose NOT_FOUND is daily bread: the kubelet asks once more after everything that it has removed."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_request_ids = itertools.count(1)
_CRI = "runtime.v1."

Context = grpc.aio.ServicerContext[Any, Any]
Admit = Callable[[Mapping[str, str]], None]
"""Raises an error of `core.errdefs` to keep a call out."""


def make_server(
    address: str,
    services: list[tuple[ServiceDescriptor, object]],
    *,
    stall: float = STALL,
    telemetry: Telemetry = SILENT,
    calls: Calls | None = None,
) -> grpc.aio.Server:
    """A server for `services`, bound to the unix socket at `address` with mode 0660; not started yet.

    A stream that its client does not read for `stall` seconds is ended. `calls` notes the others.
    Raises OSError when the socket cannot be bound.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.so_reuseport", 0),
        ("grpc.server.max_pending_requests", MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING),
    ]
    server = grpc.aio.server(options=options)
    handlers = (_handler(descriptor, service, stall, telemetry, calls or Calls()) for descriptor, service in services)
    server.add_generic_rpc_handlers(tuple(handlers))
    before = os.umask(0o117)  # the socket is never open to others, not even before a chmod
    try:
        server.add_insecure_port(f"unix:{address}")
    finally:
        os.umask(before)
    return server


def _handler(
    descriptor: ServiceDescriptor, service: object, stall: float, telemetry: Telemetry, calls: Calls
) -> grpc.GenericRpcHandler:
    methods = {
        method.name: _method(method, service, stall, telemetry, calls)
        for method in descriptor.methods
        if hasattr(service, snake_case(method.name))
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def snake_case(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _everybody(_metadata: Mapping[str, str]) -> None:
    pass


def _method(
    method: MethodDescriptor, service: object, stall: float, telemetry: Telemetry, calls: Calls
) -> grpc.RpcMethodHandler[Any, Any]:
    deserialize, name = GetMessageClass(method.input_type).FromString, _name(method)
    implementation = getattr(service, snake_case(method.name))
    admit: Admit = getattr(service, "admit", _everybody)
    if method.server_streaming:
        call = _streaming(name, implementation, admit, stall)
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(call, deserialize, _serialize)
        return grpc.unary_stream_rpc_method_handler(call, deserialize, _serialize)
    unary = _unary(name, implementation, admit, telemetry, calls)
    return grpc.unary_unary_rpc_method_handler(unary, deserialize, _serialize)


def _name(method: MethodDescriptor) -> str:
    """As logs and metrics call it: CRI's methods by their own names, which are all different."""
    service = method.containing_service
    return method.name if service.full_name.startswith(_CRI) else f"{service.name}.{method.name}"


def _serialize(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


R = TypeVar("R")


def _unary(
    rpc: str, implementation: Callable[[Any], Awaitable[R]], admit: Admit, telemetry: Telemetry, calls: Calls
) -> Callable[[Any, Context], Awaitable[R]]:
    async def call(request: Any, context: Context) -> R:
        with logging.context(rpc=rpc, request_id=next(_request_ids)):
            try:
                metadata = _metadata(context)
                with calls.note(rpc, request, metadata.get("traceparent", "")) as noted, _reported(noted, telemetry):
                    admit(metadata)
                    return await _in_time(noted, context, implementation(request))
            except Exception as exc:  # noqa: BLE001 - the RPC edge
                await _abort(rpc, context, exc)

    return call


async def _in_time(call: Call, context: Context, answer: Awaitable[R]) -> R:
    """Raises DeadlineExceeded just before the client's deadline, so that it hears which step is slow."""
    left = context.time_remaining()
    try:
        async with asyncio.timeout(left - MARGIN if left and left > 10 * MARGIN else None) as deadline:
            return await answer
    except TimeoutError as exc:
        if not deadline.expired():
            raise
        raise DeadlineExceeded(
            f"not done {call.seconds():.1f} s after the call: {call.slowest() or 'no step was noted'}; ask again: what "
            "goes on is joined"
        ) from exc


@contextlib.contextmanager
def _reported(call: Call, telemetry: Telemetry) -> Iterator[None]:
    """Report the call before its client has the answer."""
    code = grpc.StatusCode.OK
    try:
        yield
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
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


def _streaming(
    rpc: str, implementation: Callable[[Any], AsyncGenerator[Message | bytes, None]], admit: Admit, stall: float
) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(request: Any, context: Context) -> None:
        with logging.context(rpc=rpc, request_id=next(_request_ids)):
            try:
                admit(_metadata(context))
                await context.send_initial_metadata(())  # an idle stream, too, tells that it is there
                async with contextlib.aclosing(implementation(request)) as responses:
                    async for response in responses:
                        await _write(context, response, stall)
            except Exception as exc:  # noqa: BLE001 - the RPC edge
                await _abort(rpc, context, exc)

    return call


def _metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


async def _write(context: Context, response: Message | bytes, stall: float) -> None:
    """Raises ResourceExhausted when the client has read nothing for `stall` seconds."""
    try:
        async with asyncio.timeout(stall):
            await context.write(response)
    except TimeoutError as exc:
        raise ResourceExhausted(f"nothing was read for {stall:g} s: ask again, and read on") from exc


async def _abort(rpc: str, context: Context, exc: Exception) -> NoReturn:
    code, message = status_of(exc)
    if code is grpc.StatusCode.UNKNOWN:  # nobody planned for it; others name their thing, a command that is absent, say
        log.exception("call failed", error=message)  # noqa: LOG004 - called from the handler
    elif code is grpc.StatusCode.INTERNAL:
        log.error("call failed", error=message)
    elif code is grpc.StatusCode.NOT_FOUND and rpc in LOOKUPS:
        log.debug("not found", error=message)
    else:
        log.info("call refused", code=code.name, error=message)
    await context.abort(code, message)
