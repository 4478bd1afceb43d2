"""Where plugins come in: on a socket, or because they are installed.

How they are received is loaded with the first of them: its messages take 0.8 MiB, which most nodes need not have.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from core.files.dirs import make_dirs
from core.log import get_logger
from core.nri.installed import installed_plugins
from core.nri.nri import Greeting, Nri, Runtime
from core.ttrpc.address import listen

if TYPE_CHECKING:
    from core.nri.reception import Reception

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NriConfig:
    enable: bool
    socket: str
    plugin_dir: str
    config_dir: str
    greeting: Greeting


class NriService:
    """Lets plugins in between `start` and `stop`."""

    def __init__(self, config: NriConfig, group: asyncio.TaskGroup) -> None:
        self._config = config
        self._group = group
        self._reception: Reception | None = None
        self._server: asyncio.Server | None = None

    def nri(self) -> Nri | None:
        """All plugins; None as long as there was none."""
        return self._reception.plugins if self._reception else None

    async def start(self, runtime: Runtime) -> None:
        """Start what is installed, and listen. From now on pods and containers wait until those are ready, or dropped.

        What cannot be started is reported, and pods run without it.
        """
        if not self._config.enable:
            return
        try:
            for one in installed_plugins(self._config.plugin_dir, self._config.config_dir):
                await self._receive(runtime).launch(one)
            await self._listen(runtime)
        except OSError as exc:
            log.error("NRI plugins cannot come in", socket=self._config.socket, error=exc)

    async def stop(self) -> None:
        """Hang up on all plugins, and end those that we started. Idempotent."""
        if self._server is not None:
            self._server.close()
        if self._reception is not None:
            await self._reception.close()

    async def _listen(self, runtime: Runtime) -> None:
        make_dirs(os.path.dirname(self._config.socket), 0o700)
        listener = listen(self._config.socket)
        listener.setblocking(False)
        accept = partial(self._accept, runtime)
        self._server = await asyncio.get_running_loop().create_unix_server(accept, sock=listener)

    def _accept(self, runtime: Runtime) -> asyncio.Protocol:
        return self._receive(runtime).accept()

    def _receive(self, runtime: Runtime) -> Reception:
        if self._reception is None:
            from core.nri.reception import Reception  # noqa: PLC0415 - see above

            self._reception = Reception(self._config.greeting, runtime, self._group)
        return self._reception
