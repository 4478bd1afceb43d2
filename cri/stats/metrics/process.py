"""Processes, threads, open files, and when all began."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cri.stats.metrics.family import GAUGE, SECOND, Family, Processes, Sample, Source, of_group


def _of_processes(name: str, help_: str, value: Callable[[Processes], int]) -> Family:
    def samples(source: Source) -> Iterable[Sample]:
        return (((), value(source.processes)),) if source.processes else ()

    return Family(name=name, help=help_, type=GAUGE, samples=samples)


def _ulimits(source: Source) -> Iterable[Sample]:
    if source.processes and source.processes.open_files_limit is not None:
        yield ("max_open_files",), source.processes.open_files_limit


PROCESS = [
    _of_processes("container_processes", "Processes.", lambda processes: processes.count),
    _of_processes("container_file_descriptors", "Open file descriptors.", lambda processes: processes.open_files),
    _of_processes("container_sockets", "Open sockets.", lambda processes: processes.sockets),
    of_group("container_threads", "Threads.", GAUGE, lambda details: details.threads),
    of_group(
        "container_threads_max",
        "The most threads that may be, 0 for any number.",
        GAUGE,
        lambda details: details.limits.threads or 0,
    ),
    Family(
        name="container_ulimits_soft",
        help="Soft resource limits of the first process.",
        type=GAUGE,
        labels=("ulimit",),
        samples=_ulimits,
    ),
    Family(
        name="container_start_time_seconds",
        help="When it was started, in seconds since the epoch.",
        type=GAUGE,
        samples=lambda source: (((), source.started_at // SECOND),),
    ),
    Family(
        name="container_last_seen",
        help="When these metrics were read, in seconds since the epoch.",
        type=GAUGE,
        samples=lambda source: (((), source.at // SECOND),),
    ),
]
