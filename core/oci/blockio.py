"""Classes of block I/O: names for weights and limits of devices, in a file that operators write.

    Classes:
      slow:
        - Weight: 80                       # of all devices
        - Devices: [/dev/sd?, /dev/vda]    # patterns of the shell
          ThrottleReadBps: 50M
          ThrottleWriteIOPS: 1k

The layout is that of goresctrl, which both peers read (github.com/intel/goresctrl, doc/blockio.md). The file is read
when a container asks for a class, so an edit counts for the next one.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from core.errdefs import InvalidArgument, ResourceExhausted
from core.files.read import read_limited

MAX_FILE = 1 << 20
"""Bytes; a class takes some hundred."""
_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"([0-9]{1,18})([a-zA-Z]{0,2})")
_WEIGHTS = range(10, 1001)  # man 7 cgroups, blkio: what both versions take


class _Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    devices: tuple[str, ...] = ()
    weight: int | str | None = None
    throttle_read_bps: int | str | None = None
    throttle_write_bps: int | str | None = None
    throttle_read_iops: int | str | None = msgspec.field(
        name="ThrottleReadIOPS", default=None
    )
    throttle_write_iops: int | str | None = msgspec.field(
        name="ThrottleWriteIOPS", default=None
    )


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    classes: dict[str, tuple[_Parameters, ...]] = {}


_LIMITS = {
    "throttle_read_bps": "throttleReadBpsDevice",
    "throttle_write_bps": "throttleWriteBpsDevice",
    "throttle_read_iops": "throttleReadIOPSDevice",
    "throttle_write_iops": "throttleWriteIOPSDevice",
}


def blockio_of_class(name: str, path: str) -> dict[str, Any]:
    """OCI's linux.resources.blockIO of the class `name` in the file at `path`. Later parameters of a device count.

    Raises InvalidArgument: no file, not such a file, no such class, a device that is none.
    """
    if not path:
        raise InvalidArgument(f"blockio class {name[:64]!r}: this node has no classes (blockio.class_file)")
    try:
        document = msgspec.yaml.decode(read_limited(path, MAX_FILE), type=_Document)
    except (OSError, ResourceExhausted, msgspec.MsgspecError) as exc:
        raise InvalidArgument(f"blockio class {name[:64]!r}: {path}: {exc}") from exc
    if name not in document.classes:
        known = ", ".join(sorted(document.classes)) or "none"
        raise InvalidArgument(f"blockio class {name[:64]!r}: {path} has {known}")
    try:
        return _resolved(document.classes[name])
    except InvalidArgument as exc:
        raise InvalidArgument(f"blockio class {name[:64]!r} in {path}: {exc}") from exc


def _resolved(parameters: Iterable[_Parameters]) -> dict[str, Any]:
    weight: int | None = None
    by_device: dict[str, dict[tuple[int, int], int]] = {}
    for one in parameters:
        numbers = [*_devices(one.devices)]
        if one.weight is not None and not one.devices:
            weight = _weight(one.weight)
        elif one.weight is not None:
            by_device.setdefault("weightDevice", {}).update(dict.fromkeys(numbers, _weight(one.weight)))
        for field, key in _LIMITS.items():
            value = getattr(one, field)
            if value is not None and not one.devices:
                raise InvalidArgument(f"{key} without Devices")
            if value is not None:
                by_device.setdefault(key, {}).update(dict.fromkeys(numbers, _quantity(value)))
    document: dict[str, Any] = {} if weight is None else {"weight": weight}
    for key, values in by_device.items():
        what = "weight" if key == "weightDevice" else "rate"
        document[key] = [{"major": major, "minor": minor, what: value} for (major, minor), value in values.items()]
    return document


def _devices(patterns: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Numbers of the disks that fit. A partition counts as its disk: the kernel limits those."""
    for pattern in patterns:
        found = sorted(path for path in glob.glob(pattern) if stat.S_ISBLK(os.stat(path).st_mode))
        if not found:
            raise InvalidArgument(f"no block device is {pattern[:160]!r}")
        for path in found:
            number = os.stat(path).st_rdev
            yield _disk(os.major(number), os.minor(number))


def _disk(major: int, minor: int) -> tuple[int, int]:
    place = os.path.realpath(f"/sys/dev/block/{major}:{minor}")
    if not os.path.exists(f"{place}/partition"):
        return major, minor
    with open(f"{os.path.dirname(place)}/dev", encoding="ascii") as file:
        whole, part = file.read().split(":")
    return int(whole), int(part)


def _weight(value: int | str) -> int:
    if (weight := _quantity(value)) not in _WEIGHTS:
        raise InvalidArgument(f"weight {weight}: want 10 to 1000")
    return weight


def _quantity(value: int | str) -> int:
    """`50M` as Kubernetes writes quantities."""
    match = _QUANTITY.fullmatch(str(value))
    if not match or match[2] not in _SUFFIXES:
        raise InvalidArgument(f"{str(value)[:32]!r}: want a number like 50M")
    return int(match[1]) * _SUFFIXES[match[2]]
