"""What the stats verbs work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from cri.stats.collector import Collector
from cri.stats.layers import Layers
from cri.stats.metrics.collector import MetricsCollector
from cri.stats.tracking import Tracking
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import Store

R = TypeVar("R")

CHUNK = 64
"""Containers or pods that a stream reads at a time, in some milliseconds: other calls for stats come in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsDeps:
    containers: Store[Container]
    sandboxes: Store[PodSandbox]
    tracking: Tracking
    layers: Layers
    collector: Collector
    metrics: MetricsCollector
    executor: Executor
    """The one thread that the four above belong to."""

    async def collect(self, work: Callable[[], R]) -> R:
        """Return what `work` returns, which uses the collectors."""
        ids = {one.id for store in (self.containers, self.sandboxes) for one in store.list()}

        def run() -> R:
            self.tracking.keep(ids)
            self.layers.keep(ids)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self.executor, run)

    def ready_pods(self) -> list[PodSandbox]:
        return [pod for pod in self.sandboxes.list() if not pod.stopped]

    def close(self) -> None:
        """Idempotent."""
        self.executor.shutdown()
        self.tracking.keep(())
        self.layers.close()
