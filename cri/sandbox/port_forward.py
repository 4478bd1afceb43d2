"""PortForward: connections to the ports of a pod."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from core.errdefs import FailedPrecondition, InvalidArgument, Unavailable
from core.network.netns import socket_in
from cri import api
from cri.sandbox.deps import SandboxDeps
from cri.store.sandbox import PodSandbox

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection that never leaves the pod: only a firewall in it takes any."""
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""In this order, as both peers try them."""


def port_forward(
    deps: SandboxDeps, request: api.PortForwardRequest, url: Callable[[api.PortForwardRequest], str]
) -> api.PortForwardResponse:
    """Raises NotFound, InvalidArgument (no port), FailedPrecondition (not ready), ResourceExhausted."""
    pod = _ready(deps, request.pod_sandbox_id)
    for port in request.port:
        if not 0 < port < 1 << 16:
            raise InvalidArgument(f"port {port}: want 1 to 65535")
    return api.PortForwardResponse(url=url(api.PortForwardRequest(pod_sandbox_id=pod.id, port=request.port)))


async def dial(deps: SandboxDeps, sandbox_id: str, port: int) -> socket.socket:
    """Connect to `port` on the pod's loopback, IPv4 first; the caller closes the socket, which does not block.

    Raises NotFound, FailedPrecondition (not ready), Unavailable (nobody listens).
    """
    pod = _ready(deps, sandbox_id)
    failures = []
    for family, address in _LOOPBACKS:
        try:
            return await _connect(deps, pod, family, (address, port))
        except TimeoutError:
            failures.append(f"{address}: no answer within {CONNECT_TIMEOUT:g} s")
        except OSError as exc:
            failures.append(f"{address}: {os.strerror(exc.errno or 0)}")
    raise Unavailable(f"port {port} of sandbox {sandbox_id}: {', '.join(failures)}")


async def _connect(
    deps: SandboxDeps, pod: PodSandbox, family: socket.AddressFamily, address: tuple[str, int]
) -> socket.socket:
    loop = asyncio.get_running_loop()
    netns = "" if pod.host_network else pod.sandbox.netns
    connection = await loop.run_in_executor(deps.filesystem, socket_in, netns, family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await loop.sock_connect(connection, address)
        undo.pop_all()
    return connection


def _ready(deps: SandboxDeps, sandbox_id: str) -> PodSandbox:
    pod = deps.sandboxes.get(sandbox_id)
    if pod.stopped:
        raise FailedPrecondition(f"sandbox {pod.id} is not ready: its network is gone")
    return pod
