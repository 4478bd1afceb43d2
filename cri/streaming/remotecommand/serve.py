"""A client of exec or attach, from its request to its end."""

from __future__ import annotations

from core.errdefs import Cancelled, CrispError
from core.log import get_logger
from core.oci.execution import NotExecutable
from core.tasks.streams import ContainerStreams, ExecSpec
from cri import api
from cri.streaming.deps import StreamingDeps
from cri.streaming.http import Exchange
from cri.streaming.lifetime import serve
from cri.streaming.negotiation import negotiate, spdy_headers
from cri.streaming.remotecommand import spdy, websocket
from cri.streaming.remotecommand.client import Client
from cri.streaming.remotecommand.converse import converse_attach, converse_exec
from cri.streaming.remotecommand.status import SUCCESS, Status, exited, failed
from cri.streaming.spdy.connection import Connection
from cri.streaming.websocket.connection import WebSocket
from cri.streaming.websocket.handshake import WEBSOCKET, accept_headers, choose

log = get_logger(__name__)

Request = api.ExecRequest | api.AttachRequest


async def serve_remote_command(deps: StreamingDeps, exchange: Exchange, request: Request) -> None:
    """Serve until the process ends or the client leaves, whichever is first. Raises Refused before the upgrade."""
    if exchange.request.upgrades_to(WEBSOCKET):
        await _serve_websocket(deps, exchange, request)
    else:
        await _serve_spdy(deps, exchange, request)


async def _serve_spdy(deps: StreamingDeps, exchange: Exchange, request: Request) -> None:
    version = negotiate(exchange.request, spdy.PROTOCOLS)
    wire = exchange.upgrade(spdy_headers(version))
    gathering = spdy.Gathering(version, request, deps.creation_timeout)

    async def work() -> None:
        if client := await gathering.client():
            await run(deps.containers, request, client)

    await serve(Connection(wire, gathering.accept), work(), wire, deps.idle_timeout)


async def _serve_websocket(deps: StreamingDeps, exchange: Exchange, request: Request) -> None:
    version = choose(exchange.request, websocket.PROTOCOLS)
    wire = exchange.upgrade(accept_headers(exchange.request, version))
    channels = websocket.open_channels(WebSocket(wire), version, request)

    async def work() -> None:
        await run(deps.containers, request, await websocket.channel_client(channels, version, request))

    await serve(channels, work(), wire, deps.idle_timeout)


async def run(containers: ContainerStreams, request: Request, client: Client) -> None:
    """Do what was asked for and tell the client how it ended."""
    kind, do = ("exec", _exec) if isinstance(request, api.ExecRequest) else ("attach", _attach)
    log.info(f"{kind} begins", container_id=request.container_id)
    try:
        status = await do(containers, request, client)
    except Cancelled:
        log.info(f"{kind} was left by its client", container_id=request.container_id)
        return
    except NotExecutable as exc:
        await client.tell(str(exc), terminal=request.tty)
        status = exited(exc.exit_code)
    except CrispError as exc:
        status = failed(f"{kind} in container {request.container_id}: {exc}")
    log.info(f"{kind} ended", container_id=request.container_id, exit_code=status.exit_code, result=status.message)
    await client.end(status)


async def _exec(containers: ContainerStreams, request: Request, client: Client) -> Status:
    assert isinstance(request, api.ExecRequest)
    spec = ExecSpec(
        args=tuple(request.cmd), tty=request.tty, stdin=request.stdin, stdout=request.stdout, stderr=request.stderr
    )
    streams = await containers.exec(request.container_id, spec)
    try:
        return exited(await converse_exec(streams, client))
    finally:
        await streams.close()


async def _attach(containers: ContainerStreams, request: Request, client: Client) -> Status:
    streams = await containers.attach(
        request.container_id, stdin=request.stdin, stdout=request.stdout, stderr=request.stderr
    )
    try:
        await converse_attach(streams, client)
        return SUCCESS
    finally:
        await streams.close()
