"""GET /metrics over HTTP. Without TLS and without a password: bind it to loopback, or to a network that is trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from core.log import get_logger
from cri.telemetry.open import split_address

log = get_logger(__name__)

_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class Endpoint:
    def __init__(self, address: str, exposition: Callable[[], bytes]) -> None:
        """`address` is host:port; without a host all addresses of the node. Raises InvalidArgument."""
        self._address = address
        self._host, self._port = split_address(address)
        application = web.Application()
        application.router.add_get("/metrics", self._get)
        self._runner = web.AppRunner(application, access_log=None)
        self._exposition = exposition

    async def start(self) -> None:
        """Serve, or log why not: pods can do without metrics."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host or None, self._port).start()
        except OSError as exc:
            log.error("no metrics", address=self._address, error=exc)
        else:
            log.info("serving metrics", address=self._address)

    async def close(self) -> None:
        """Idempotent."""
        await self._runner.cleanup()

    async def _get(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._exposition)  # it reads files of a hundred shims
        return web.Response(body=body, headers=_TEXT)
