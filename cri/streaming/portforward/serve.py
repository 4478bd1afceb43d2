"""A client of port-forward, from its request to its end."""

from __future__ import annotations

from cri import api
from cri.streaming.deps import StreamingDeps
from cri.streaming.http import Exchange, Refused
from cri.streaming.lifetime import serve
from cri.streaming.negotiation import negotiate, spdy_headers
from cri.streaming.portforward import spdy, websocket
from cri.streaming.spdy.connection import Connection
from cri.streaming.websocket.connection import WebSocket
from cri.streaming.websocket.handshake import WEBSOCKET, accept_headers, choose
from cri.streaming.websocket.tunnel import Tunnel

TUNNEL = f"SPDY/3.1+{spdy.PROTOCOL}"
"""The subprotocol of kubectl since 1.30."""


async def serve_port_forward(deps: StreamingDeps, exchange: Exchange, request: api.PortForwardRequest) -> None:
    """Forward until the client leaves. Raises Refused before the upgrade."""
    if not exchange.request.upgrades_to(WEBSOCKET):
        wire = exchange.upgrade(spdy_headers(negotiate(exchange.request, [spdy.PROTOCOL])))
        forwards = spdy.PortForwards(deps, request.pod_sandbox_id)
        await serve(Connection(wire, forwards.accept), forwards.run(), wire, deps.idle_timeout)
        return
    version = choose(exchange.request, (TUNNEL, *websocket.PROTOCOLS))
    if version != TUNNEL and not request.port:
        raise Refused(400, f"without ports in the request only {TUNNEL} is served")
    wire = exchange.upgrade(accept_headers(exchange.request, version))
    socket = WebSocket(wire)
    if version == TUNNEL:
        forwards = spdy.PortForwards(deps, request.pod_sandbox_id)
        await serve(Connection(Tunnel(socket), forwards.accept), forwards.run(), wire, deps.idle_timeout)
    else:
        channels = websocket.open_channels(socket, version, request)
        work = websocket.forward_channels(channels, deps.dial, request)
        await serve(channels, work, wire, deps.idle_timeout)
