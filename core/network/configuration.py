"""The networks that new pods are attached to: what the files say now, and whether their plugins are ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from core.errdefs import CrispError, FailedPrecondition
from core.log import get_logger
from core.network import chain
from core.network.blocking import Blocking
from core.network.confdir import config_directories, find_plugin, load_networks
from core.network.conflist import STATUS_SINCE, NetworkConfig
from core.network.plugin import Plugins
from core.network.watch import Watch

log = get_logger(__name__)

STATUS_PERIOD = 30.0
"""Seconds between two STATUS calls, for networks of a version that has them."""


class Configuration:
    """Follows the files. What is attached is not touched by a change: its record has its own configuration."""

    def __init__(self, conf_dir: str, max_networks: int, plugins: Plugins, blocking: Blocking) -> None:
        self.networks: tuple[NetworkConfig, ...] = ()
        self.configured = False
        """Whether there is a configuration, be it wrong or its plugins not ready."""
        self._negotiated = asyncio.Event()
        """Whether `networks` are in the versions that their plugins speak."""
        self._wrong = ""
        self._not_ready = ""
        self._conf_dir = conf_dir
        self._max_networks = max_networks
        self._plugins = plugins
        self._blocking = blocking
        self._watch = Watch()
        self._following: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str:
        """Why pods cannot be attached now; "" when they can. Begins as other runtimes' words do: people search them."""
        return self._wrong or self._not_ready

    async def wait_networks(self) -> tuple[NetworkConfig, ...]:
        """`networks`, when their plugins have been asked for their versions, which takes one that hangs 10 s."""
        await self._negotiated.wait()
        return self.networks

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Load the files, and follow them in `group` until `close`. Plugins, which can hang, are asked later."""
        await self._reload()
        self._following = group.create_task(self._follow())
        self._following.add_done_callback(lambda _: self._watch.close())  # not earlier: a thread may be arming it

    def close(self) -> None:
        if self._following:
            self._following.cancel()
        else:
            self._watch.close()

    async def _follow(self) -> None:
        while True:
            await self._ask_plugins()
            asks = any(network.speaks(STATUS_SINCE) for network in self.networks)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._watch.wait_changed(), STATUS_PERIOD if asks else None)
                await self._reload()

    async def _reload(self) -> None:
        """Until the files are read what they said before holds, and afterwards all of what they say."""
        before = self._wrong
        try:
            self.networks, self._wrong, self.configured = await self._blocking(self._load), "", True
        except FailedPrecondition as exc:
            self.networks, self._wrong, self.configured = (), f"cni plugin not initialized: {exc}", False
        except CrispError as exc:
            self.networks, self._wrong, self.configured = (), f"cni config load failed: {exc}", True
        self._negotiated.clear()
        if self._wrong not in {"", before}:  # none is no fault: new nodes wait for it, the embedded one does without
            (log.warning if self.configured else log.info)("network cannot be loaded", error=self._wrong)

    async def _ask_plugins(self) -> None:
        before, not_ready = self._not_ready, ""
        try:
            await self._negotiate()
            for network in self.networks:
                await chain.status(self._plugins, network)
        except CrispError as exc:
            not_ready = f"cni plugin not ready: {exc}"
        if not_ready not in {"", before}:
            log.warning("network not ready", error=not_ready)
        self._not_ready = not_ready

    async def _negotiate(self) -> None:
        try:
            self.networks = tuple([await chain.negotiate(self._plugins, network) for network in self.networks])
        finally:
            self._negotiated.set()

    def _load(self) -> tuple[NetworkConfig, ...]:
        """Watch, then read, so that no change falls in between."""
        self._watch.arm((*config_directories(self._conf_dir), *self._plugins.bin_dirs))
        networks = load_networks(self._conf_dir, self._max_networks)
        for plugin in itertools.chain.from_iterable(network.plugins for network in networks):
            find_plugin(plugin.type, self._plugins.bin_dirs)
        return networks
