"""The jobs that the zygote can fork, by name.

An entry is `module:function` with

    def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Progress) -> Mapping[str, Any] | None

It runs in a process of its own, which ends when it returns: it may block, change its root and leave descriptors open.
A CrispError that it raises arrives at the caller; `report` sends progress there. One that is asked for detached is

    def run_job(arguments: int, fds: Sequence[int]) -> int

and reads its arguments itself, as a line of JSON; it returns an exit code. Its process is a bare fork (core.linux.fork)
with a session of its own, without huge pages or garbage collection.

The module may have a function `warm_up()`, for the zygote to call: what it loads, caches and has run is shared by all
children. It leaves no thread, descriptor, signal handler or child behind.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from core.log import get_logger
from core.zygote.zygote import Progress

log = get_logger(__name__)

Job = Callable[[Mapping[str, Any], Sequence[int], Progress], Mapping[str, Any] | None]

DetachedJob = Callable[[int, Sequence[int]], int]

JOBS: Mapping[str, str] = MappingProxyType(
    {
        "shim": "core.shim.main:run_job",
        "unpack": "core.diff.unpack:run_job",
        "settle": "core.diff.settle:run_job",
        "compare": "core.diff.compare:run_job",
        "probe": "core.zygote.probe:run_job",
        "users": "core.zygote.users:run_job",
    }
)


def preload(jobs: Mapping[str, str] = JOBS) -> None:
    """Load and warm up the modules of `jobs`. One that cannot be loaded is logged, and fails in its job."""
    for job, entry in jobs.items():
        try:
            module = importlib.import_module(entry.partition(":")[0])
            getattr(module, "warm_up", _nothing)()
            _find(entry)
        except (ImportError, AttributeError) as exc:
            log.error("job cannot be loaded", job=job, error=exc)


def _nothing() -> None:
    """The warm-up of a job that has none."""


def load(entry: str) -> Job:
    """The function that `entry` names. Raises ImportError, AttributeError."""
    return cast("Job", _find(entry))


def load_detached(entry: str) -> DetachedJob:
    """As `load`."""
    return cast("DetachedJob", _find(entry))


@functools.cache
def _find(entry: str) -> object:
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)
