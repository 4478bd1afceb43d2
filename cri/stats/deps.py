"""What the stats verbs work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from cri.stats.collector import Collector
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import Store

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsDeps:
    containers: Store[Container]
    sandboxes: Store[PodSandbox]
    collector: Collector
    executor: Executor
    """The one thread that `collector` belongs to."""

    async def collect(self, work: Callable[[], R]) -> R:
        """Return what `work` returns, which uses the collector."""
        ids = {one.id for store in (self.containers, self.sandboxes) for one in store.list()}

        def run() -> R:
            self.collector.keep(ids)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self.executor, run)

    def close(self) -> None:
        """Idempotent."""
        self.executor.shutdown()
        self.collector.close()
