"""CDI: devices that their vendor describes in files (Container Device Interface, SPEC.md 1.0).

Files are read when a container asks for a device, so there is nothing to watch: drivers write them at any time, and
most containers ask for none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from core.errdefs import CrispError, InvalidArgument
from core.files.read import read_limited
from core.log import get_logger

log = get_logger(__name__)

MAX_FILE = 4 << 20
"""Bytes; a node with all partitions of eight large GPUs has some 300 KiB."""
MAX_FILES = 1024

_VENDOR = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_CLASS = r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_KIND = f"{_VENDOR}/{_CLASS}"
_DEVICE = r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?"
_QUALIFIED = re.compile(f"(?P<kind>{_KIND})=(?P<device>{_DEVICE})")


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    path: str
    host_path: str = ""
    """"" is `path`."""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class ContainerEdits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: dict[str, Any] | None = None
    net_devices: tuple[dict[str, Any], ...] = ()


class _Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: Annotated[str, msgspec.Meta(pattern=f"^{_DEVICE}$")]
    container_edits: ContainerEdits = ContainerEdits()


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cdi_version: str
    kind: Annotated[str, msgspec.Meta(pattern=f"^{_KIND}$")]
    devices: tuple[_Device, ...]
    container_edits: ContainerEdits = ContainerEdits()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    path: str
    priority: int
    document: _Document
    edits: ContainerEdits


def edits_of(names: Iterable[str], directories: Sequence[str]) -> list[ContainerEdits]:
    """What the devices `names` (`vendor.com/class=name`) change, in order; what a file says for all its devices once.

    Of a device in several directories the last one's counts (SPEC.md, "CDI JSON Definition"). Raises InvalidArgument:
    not a name, not described, or described twice in directories of the same rank.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    for name in wanted:
        if not _QUALIFIED.fullmatch(name):
            raise InvalidArgument(f"CDI device {name[:160]!r}: want vendor.com/class=name")
    broken: list[str] = []
    known = _devices(directories, broken)
    edits: list[ContainerEdits] = []
    seen: set[str] = set()
    for name in wanted:
        found = _one(name, known.get(name, []), directories, broken)
        if found.path not in seen:
            seen.add(found.path)
            edits.append(found.document.container_edits)
        edits.append(found.edits)
    return edits


def _one(name: str, found: list[_Found], directories: Sequence[str], broken: list[str]) -> _Found:
    highest = [one for one in found if one.priority == max(other.priority for other in found)]
    if len(highest) > 1:
        raise InvalidArgument(f"CDI device {name}: described in {' and in '.join(one.path for one in highest)}")
    if not highest:
        problems = f"; files that cannot be read: {'; '.join(broken)}" if broken else ""
        raise InvalidArgument(f"CDI device {name}: not described in {', '.join(directories) or 'any place'}{problems}")
    return highest[0]


def _devices(directories: Sequence[str], broken: list[str]) -> dict[str, list[_Found]]:
    devices: dict[str, list[_Found]] = {}
    for priority, directory in enumerate(directories):
        for path in _files(directory):
            try:
                document = _read(path)
            except (CrispError, OSError, msgspec.MsgspecError) as exc:
                broken.append(f"{path}: {exc}")
                log.warning("CDI file skipped", path=path, error=exc)
                continue
            for device in document.devices:
                one = _Found(path=path, priority=priority, document=document, edits=device.container_edits)
                devices.setdefault(f"{document.kind}={device.name}", []).append(one)
    return devices


def _files(directory: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names[:MAX_FILES]:
        if name.endswith((".json", ".yaml")):
            yield os.path.join(directory, name)


def _read(path: str) -> _Document:
    raw = read_limited(path, MAX_FILE)
    if path.endswith(".json"):
        return msgspec.json.decode(raw, type=_Document)
    return msgspec.yaml.decode(raw, type=_Document)
