"""How plugins are received: greeted, brought up to date, and seen off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from core.api.nri_types_pb2 import ContainerUpdate
from core.errdefs import CrispError
from core.log import get_logger
from core.nri.installed import Installed, PluginProcess
from core.nri.nri import Greeting, Runtime
from core.nri.plugin import Plugin
from core.nri.plugins import Plugins

log = get_logger(__name__)

MAX_PLUGINS = 64
"""Connections at a time: a node has a handful of plugins, and each costs every pod a round trip."""


class Reception:
    """`plugins` has those that are received, or are about to be."""

    def __init__(self, greeting: Greeting, runtime: Runtime, group: asyncio.TaskGroup) -> None:
        self.plugins = Plugins(runtime, group)
        self._greeting = greeting
        self._runtime = runtime
        self._group = group
        self._connected: set[Plugin] = set()
        self._processes: dict[Plugin, PluginProcess] = {}

    def accept(self) -> asyncio.Protocol:
        """Receive whoever is on the connection of this protocol."""
        if len(self._connected) >= MAX_PLUGINS:
            log.warning("NRI plugin refused", reason=f"there are {MAX_PLUGINS}")
            return _Refusal()
        plugin = Plugin(self._greeting, self._runtime, self._gone)
        self._connected.add(plugin)
        self._group.create_task(self._receive(plugin))
        return plugin.trunk

    async def launch(self, installed: Installed) -> None:
        """Start a plugin and receive it; whoever asks plugins waits for it from now on. What fails is reported."""
        plugin = Plugin(
            self._greeting,
            self._runtime,
            self._gone,
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
        self.plugins.add(plugin)
        await asyncio.get_running_loop().create_unix_connection(lambda: plugin.trunk, sock=process.socket)
        self._group.create_task(self._welcome(plugin))

    async def close(self) -> None:
        """Hang up on all, and end those that we started. Idempotent."""
        for plugin in tuple(self._connected):
            plugin.drop("crispd is stopping")
        await asyncio.gather(*(process.end() for process in self._processes.values()))

    async def _receive(self, plugin: Plugin) -> None:
        await plugin.turn.acquire()
        await self._welcome(plugin)

    async def _welcome(self, plugin: Plugin) -> None:
        """Greet it, whose turn it is, and bring it up to date: of what begins after `add` it learns as it happens."""
        updates: Iterable[ContainerUpdate] = ()
        try:
            await plugin.greet()
            self.plugins.add(plugin)
            updates = await plugin.synchronize()
            log.info("NRI plugin ready", plugin=plugin.name)
        except (CrispError, DecodeError) as exc:
            plugin.drop(str(exc))
        finally:
            plugin.turn.release()
        await self.plugins.carry_out(updates)

    def _gone(self, plugin: Plugin) -> None:
        self.plugins.remove(plugin)
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
