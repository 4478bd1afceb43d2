"""Where plugins come in: on a socket, or because they are installed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import DecodeError

from core.api.nri_types_pb2 import ContainerUpdate
from core.errdefs import CrispError
from core.files.dirs import make_dirs
from core.log import get_logger
from core.nri.installed import Installed, PluginProcess, installed_plugins
from core.nri.nri import Nri, Runtime
from core.nri.plugin import Greeting, Plugin
from core.nri.plugins import Plugins
from core.ttrpc.address import listen

log = get_logger(__name__)

MAX_PLUGINS = 64
"""Connections at a time: a node has a handful of plugins, and each costs every pod a round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NriConfig:
    enable: bool
    socket: str
    plugin_dir: str
    config_dir: str
    greeting: Greeting


class NriService:
    """Receives plugins between `start` and `stop`."""

    def __init__(self, config: NriConfig, group: asyncio.TaskGroup) -> None:
        self._config = config
        self._group = group
        self._connected: set[Plugin] = set()
        self._processes: dict[Plugin, PluginProcess] = {}
        self._server: asyncio.Server | None = None

    async def start(self, runtime: Runtime) -> Nri:
        """Start what is installed, and listen. From now on pods and containers wait until those are ready, or dropped.

        What cannot be started is reported, and pods run without it.
        """
        plugins = Plugins(runtime, self._group)
        if self._config.enable:
            try:
                for one in installed_plugins(self._config.plugin_dir, self._config.config_dir):
                    await self._launch(one, plugins, runtime)
                await self._listen(plugins, runtime)
            except OSError as exc:
                log.error("NRI plugins cannot come in", socket=self._config.socket, error=exc)
        return plugins

    async def _listen(self, plugins: Plugins, runtime: Runtime) -> None:
        make_dirs(os.path.dirname(self._config.socket), 0o700)
        listener = listen(self._config.socket)
        listener.setblocking(False)
        accept = partial(self._accept, plugins, runtime)
        self._server = await asyncio.get_running_loop().create_unix_server(accept, sock=listener)

    async def stop(self) -> None:
        """Hang up on all plugins, and end those that we started. Idempotent."""
        if self._server is not None:
            self._server.close()
        for plugin in tuple(self._connected):
            plugin.drop("crispd is stopping")
        await asyncio.gather(*(process.end() for process in self._processes.values()))

    def _accept(self, plugins: Plugins, runtime: Runtime) -> asyncio.Protocol:
        if len(self._connected) >= MAX_PLUGINS:
            log.warning("NRI plugin refused", reason=f"there are {MAX_PLUGINS}")
            return _Refusal()
        plugin = Plugin(self._config.greeting, runtime, partial(self._gone, plugins))
        self._connected.add(plugin)
        self._group.create_task(self._receive(plugin, plugins))
        return plugin.trunk

    async def _receive(self, plugin: Plugin, plugins: Plugins) -> None:
        await plugin.turn.acquire()
        await self._welcome(plugin, plugins)

    async def _launch(self, installed: Installed, plugins: Plugins, runtime: Runtime) -> None:
        plugin = Plugin(
            self._config.greeting,
            runtime,
            partial(self._gone, plugins),
            index=installed.index,
            base=installed.base,
            config=installed.config,
        )
        try:
            process = PluginProcess(installed)
        except OSError as exc:
            log.error("NRI plugin not started", plugin=plugin.name, error=exc)
            return
        self._connected.add(plugin)
        self._processes[plugin] = process
        await plugin.turn.acquire()
        plugins.add(plugin)
        await asyncio.get_running_loop().create_unix_connection(lambda: plugin.trunk, sock=process.socket)
        self._group.create_task(self._welcome(plugin, plugins))

    async def _welcome(self, plugin: Plugin, plugins: Plugins) -> None:
        """Greet it, whose turn it is, and bring it up to date: of what begins after `add` it learns as it happens."""
        updates: Iterable[ContainerUpdate] = ()
        try:
            await plugin.greet()
            plugins.add(plugin)
            updates = await plugin.synchronize()
            log.info("NRI plugin ready", plugin=plugin.name)
        except (CrispError, DecodeError) as exc:
            plugin.drop(str(exc))
        finally:
            plugin.turn.release()
        await plugins.carry_out(updates)

    def _gone(self, plugins: Plugins, plugin: Plugin) -> None:
        plugins.remove(plugin)
        self._connected.discard(plugin)
        process = self._processes.get(plugin)
        if process is not None:
            self._group.create_task(self._end(plugin, process))

    async def _end(self, plugin: Plugin, process: PluginProcess) -> None:
        await process.end()
        self._processes.pop(plugin, None)


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
