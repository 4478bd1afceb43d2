"""A client of port-forward, from its request to its end."""

from __future__ import annotations

from cri import api
from cri.streaming.deps import StreamingDeps
from cri.streaming.http import Exchange
from cri.streaming.lifetime import serve
from cri.streaming.negotiation import negotiate, spdy_headers
from cri.streaming.portforward.spdy import PROTOCOL, PortForwards
from cri.streaming.spdy.connection import Connection


async def serve_port_forward(deps: StreamingDeps, exchange: Exchange, request: api.PortForwardRequest) -> None:
    """Forward until the client leaves. Raises Refused before the upgrade."""
    version = negotiate(exchange.request, [PROTOCOL])
    wire = exchange.upgrade(spdy_headers(version))
    forwards = PortForwards(deps, request.pod_sandbox_id)
    await serve(Connection(wire, forwards.accept), forwards.run(), wire, deps.idle_timeout)
