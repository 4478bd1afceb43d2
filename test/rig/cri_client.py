"""A CRI client built from the service descriptors: `client.RunPodSandbox(api.RunPodSandboxRequest(...))`."""

from __future__ import annotations

from typing import Any, Self

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from cri import api
from rig.patience import patient

MAX_MESSAGE = 16 << 20
RECONNECT = 20
"""Milliseconds between attempts to connect: gRPC's own second is as long as a daemon takes to start."""
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    *((f"grpc.{which}_reconnect_backoff_ms", RECONNECT) for which in ("initial", "max")),
]


class CriClient:
    """Blocking calls to the runtime and image service behind one unix socket; closed by `close` or a with block."""

    def __init__(self, socket: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        for service in (api.RUNTIME_SERVICE, api.IMAGE_SERVICE):
            for method in service.methods:
                setattr(self, method.name, self._stub(method))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"CRI has no method {name}")

    def _stub(self, method: MethodDescriptor) -> Any:
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        return make(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def wait_ready(self, timeout: float = 60) -> None:
        """Return when the socket answers. Raises grpc.FutureTimeoutError."""
        grpc.channel_ready_future(self._channel).result(timeout=patient(timeout))

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
