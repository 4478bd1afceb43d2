"""Blocking CRI calls over a unix socket, made from the service descriptors."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, Self

import click
import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cri import api
from cri.cli.output import printable

MAX_MESSAGE = 16 << 20
"""Bytes, both ways: what the kubelet's client allows, too."""
DEADLINE = 120.0
"""Seconds that a call may take: the kubelet's runtimeRequestTimeout."""

_SERVICES = (api.RUNTIME_SERVICE, api.IMAGE_SERVICE, api.DOCTOR)
_METHODS: dict[str, MethodDescriptor] = {method.name: method for service in _SERVICES for method in service.methods}


class CallFailed(click.ClickException):
    """A call that the daemon refused, or that never reached it. `code` is its status."""

    def __init__(self, message: str, code: grpc.StatusCode) -> None:
        super().__init__(printable(message))
        self.code = code


class Client:
    """Calls by the RPC's name: `client.call("ListImages", api.ListImagesRequest())`. Connects at the first call.

    Raises BadParameter when `address` is not that of a unix socket.
    """

    def __init__(self, address: str) -> None:
        self._path = _socket_path(address)
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
        self._channel = grpc.insecure_channel(f"unix:{self._path}", options=options)

    def call(self, rpc: str, request: Message, timeout: float | None = DEADLINE) -> Any:
        """The response. `timeout` is in seconds, None for no limit. Raises CallFailed."""
        return self.result(self.begin(rpc, request, timeout))

    def begin(self, rpc: str, request: Message, timeout: float | None = None) -> grpc.Future[Any]:
        """Start a call; `result` takes its response."""
        started: grpc.Future[Any] = self.callable(_METHODS[rpc]).future(request, timeout=timeout)
        return started

    def stream(self, rpc: str, request: Message) -> Iterator[Any]:
        """The responses as they come, until the daemon ends it. Raises CallFailed."""
        try:
            yield from self.callable(_METHODS[rpc])(request)
        except grpc.RpcError as error:
            raise self.failure(error) from None

    def callable(self, method: MethodDescriptor) -> Any:
        """What calls `method`, as gRPC has it."""
        return self._make(method)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def _make(self, method: MethodDescriptor) -> Callable[..., Any]:
        if method.client_streaming:
            return self._channel.stream_stream
        return self._channel.unary_stream if method.server_streaming else self._channel.unary_unary

    def result(self, call: grpc.Future[Any]) -> Any:
        """Wait for the response of a call that `begin` started; an interrupt cancels it. Raises CallFailed."""
        try:
            return call.result()
        except grpc.RpcError as error:
            raise self.failure(error) from None
        except KeyboardInterrupt:
            call.cancel()
            raise

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def failure(self, error: Any) -> CallFailed:
        """What to tell of a failed call. UNAVAILABLE is the daemon's word, too: so whether it is there is tried."""
        code: grpc.StatusCode = error.code()
        if code is grpc.StatusCode.UNAVAILABLE and (reason := _unreachable(self._path)):
            return CallFailed(f"no daemon at {self._path}: {reason}", code)
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return CallFailed(f"this daemon cannot do that: {error.details()}", code)
        return CallFailed(f"{code.name.lower().replace('_', ' ')}: {error.details()}", code)


def _socket_path(address: str) -> str:
    path = address.removeprefix("unix://").removeprefix("unix:")
    if not path.startswith("/"):
        raise click.BadParameter(f"{address!r}: want unix:///path/of/the/socket", param_hint="--address")
    return path


def _unreachable(path: str) -> str:
    """Why nothing answers at the socket, and what helps; empty when something does."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except PermissionError:
            return "permission denied; run crispctl as root"
        except OSError as error:
            return f"{error.strerror or error}; start crispd, or give --address"
    return ""
