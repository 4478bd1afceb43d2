"""The networks that new pods are attached to: what the files say now, and whether their plugins are ready."""

from __future__ import annotations

import asyncio
import contextlib

from core.errdefs import CrispError, FailedPrecondition, InvalidArgument
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
        self.problem = ""
        """Why pods cannot be attached now; "" when they can."""
        self.configured = False
        """Whether there is a configuration, be it wrong or its plugins not ready."""
        self._conf_dir = conf_dir
        self._max_networks = max_networks
        self._plugins = plugins
        self._blocking = blocking
        self._watch = Watch()
        self._following: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Load, and follow in `group` until `close`."""
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
            asks = any(network.speaks(STATUS_SINCE) for network in self.networks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_PERIOD if asks else None):
                    await self._watch.wait_changed()
            await self._reload()

    async def _reload(self) -> None:
        """The messages begin as those of other runtimes do: people search for them."""
        problem, configured = "", True
        try:
            self.networks = await self._blocking(self._load)
            await self._check_ready()
        except FailedPrecondition as exc:
            self.networks, configured, problem = (), False, f"cni plugin not initialized: {exc}"
        except InvalidArgument as exc:
            self.networks, problem = (), f"cni config load failed: {exc}"
        except CrispError as exc:
            problem = f"cni plugin not ready: {exc}"
        if problem and problem != self.problem:
            log.warning("network not ready", error=problem)
        self.problem, self.configured = problem, configured

    def _load(self) -> tuple[NetworkConfig, ...]:
        """Watch, then read, so that no change falls in between."""
        self._watch.arm((*config_directories(self._conf_dir), *self._plugins.bin_dirs))
        return load_networks(self._conf_dir, self._max_networks)

    async def _check_ready(self) -> None:
        for network in self.networks:
            for plugin in network.plugins:
                find_plugin(plugin.type, self._plugins.bin_dirs)
            await chain.status(self._plugins, network)
