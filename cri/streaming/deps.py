"""What the streaming server works with."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.tasks.streams import ContainerStreams
from cri.streaming.http import HEAD_TIMEOUT

CREATION_TIMEOUT = 30.0
"""Seconds for a client to open the streams that belong together, as both peers have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingDeps:
    containers: ContainerStreams
    dial: Callable[[str, int], Awaitable[socket.socket]]
    """Connect to a TCP port inside the sandbox with this id; the socket does not block. Raises CrispError."""
    idle_timeout: float
    """Seconds without a byte after which a client is hung up on."""
    creation_timeout: float = CREATION_TIMEOUT
    head_timeout: float = HEAD_TIMEOUT
