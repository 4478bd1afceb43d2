"""Writable layers and block devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from core.cgroups.details import DeviceIo
from core.linux.block import device_name
from cri.stats.metrics.family import COUNTER, GAUGE, Disk, Family, Sample, Source


def _of_disk(name: str, help_: str, value: Callable[[Disk], int | None]) -> Family:
    def samples(source: Source) -> Iterable[Sample]:
        found = value(source.disk) if source.disk else None
        return () if found is None or source.disk is None else (((source.disk.device,), found),)

    return Family(name=name, help=help_, type=GAUGE, labels=("device",), samples=samples)


def _of_io(name: str, help_: str, operation: str, value: Callable[[DeviceIo], int]) -> Family:
    def samples(source: Source) -> Iterable[Sample]:
        for one in source.details.io if source.details else ():
            if one.operation == operation:
                yield (device_name(one.major, one.minor),), value(one)

    return Family(name=name, help=help_, type=COUNTER, labels=("device",), samples=samples)


def _by_operation(source: Source) -> Iterable[Sample]:
    for one in source.details.io if source.details else ():
        yield (device_name(one.major, one.minor), str(one.major), str(one.minor), one.operation), one.size


DISK = [
    _of_disk("container_fs_usage_bytes", "Taken by the writable layer.", lambda disk: disk.used),
    _of_disk("container_fs_limit_bytes", "Size of the writable layer's filesystem.", lambda disk: disk.size),
    _of_disk("container_fs_inodes_total", "Inodes of the writable layer's filesystem.", lambda disk: disk.inodes),
    _of_disk("container_fs_inodes_free", "Free inodes of that filesystem.", lambda disk: disk.free_inodes),
    _of_io("container_fs_reads_bytes_total", "Bytes read.", "Read", lambda one: one.size),
    _of_io("container_fs_reads_total", "Completed reads.", "Read", lambda one: one.count),
    _of_io("container_fs_writes_bytes_total", "Bytes written.", "Write", lambda one: one.size),
    _of_io("container_fs_writes_total", "Completed writes.", "Write", lambda one: one.count),
    Family(
        name="container_blkio_device_usage_total",
        help="Bytes read and written.",
        type=COUNTER,
        labels=("device", "major", "minor", "operation"),
        samples=_by_operation,
    ),
]
