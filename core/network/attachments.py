"""What has been attached, with which configuration and parameters: all that detaching needs, whatever changes since."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from core.errdefs import CrispError, FailedPrecondition
from core.files.atomic import write_atomic
from core.files.dirs import fsync_dir, make_dirs
from core.files.read import read_limited
from core.files.versioned import decode_versioned
from core.log import get_logger
from core.network.conflist import NetworkConfig, parse

log = get_logger(__name__)

VERSION = 1
_MAX_RECORD = 8 << 20  # bytes; a config of at most 1 MiB per network and a result of at most 1 MiB
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One attachment in the sense of the CNI spec: (pod, interface) on one network."""

    ifname: str
    network: NetworkConfig
    result: bytes = b""
    """What the last plugin of ADD returned; empty until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    pod_id: str
    netns: str
    args: str
    """CNI_ARGS."""
    capability_args: Mapping[str, Any] = field(default_factory=dict)
    interfaces: tuple[Interface, ...]

    @property
    def attached(self) -> bool:
        return all(interface.result for interface in self.interfaces)


class Attachments(Protocol):
    """All calls block."""

    def load(self) -> list[Attachment]:
        """All of them; one that cannot be read is reported and left where it is.

        Raises FailedPrecondition when a newer crispd has written one: GC would take it for nobody's.
        """

    def put(self, attachment: Attachment) -> None:
        """Record before anything is done. Survives a crash of the process; a power cut only after `sync`."""

    def sync(self, pod_id: str) -> None:
        """Make the record durable. Raises OSError."""

    def put_results(self, attachment: Attachment) -> None:
        """Add the results. After a power cut they may be gone: there is no pod then, and plugins detach without."""

    def delete(self, pod_id: str) -> None:
        """Forget; success when absent."""


class AttachmentFiles:
    """Attachments in files that only root reads, since arguments and annotations can hold secrets.

        <root>/                     0700
            attachments/<pod id>.json   0600; written before the first plugin runs, removed after the last has detached
            results/<pod id>.json       0600; results by interface

    A crash leaves an attachment without results, which says that plugins may have run, or results without an
    attachment, which are removed at the next load.
    """

    def __init__(self, root: str) -> None:
        self._attachments = os.path.join(root, "attachments")
        self._results = os.path.join(root, "results")
        for directory in (root, self._attachments, self._results):
            make_dirs(directory, 0o700)

    def load(self) -> list[Attachment]:
        known = {name.removesuffix(_SUFFIX) for name in os.listdir(self._attachments) if _is_record(name)}
        for name in os.listdir(self._results):
            if name.removesuffix(_SUFFIX) not in known:
                os.unlink(os.path.join(self._results, name))
        return [attachment for pod_id in sorted(known) if (attachment := self._load(pod_id))]

    def put(self, attachment: Attachment) -> None:
        write_atomic(self._attachment(attachment.pod_id), _encode(attachment), durable=False)

    def sync(self, pod_id: str) -> None:
        fd = os.open(self._attachment(pod_id), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        fsync_dir(self._attachments)

    def put_results(self, attachment: Attachment) -> None:
        results = {interface.ifname: msgspec.Raw(interface.result) for interface in attachment.interfaces}
        write_atomic(self._result(attachment.pod_id), msgspec.json.encode(results), durable=False)

    def delete(self, pod_id: str) -> None:
        for path in (self._attachment(pod_id), self._result(pod_id)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _attachment(self, pod_id: str) -> str:
        return os.path.join(self._attachments, pod_id + _SUFFIX)

    def _result(self, pod_id: str) -> str:
        return os.path.join(self._results, pod_id + _SUFFIX)

    def _load(self, pod_id: str) -> Attachment | None:
        try:
            return _decode(pod_id, read_limited(self._attachment(pod_id), _MAX_RECORD), self._load_results(pod_id))
        except FailedPrecondition:
            raise
        except (CrispError, OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            log.error("attachment cannot be read", path=self._attachment(pod_id), error=exc)
            return None

    def _load_results(self, pod_id: str) -> dict[str, msgspec.Raw]:
        try:
            return msgspec.json.decode(read_limited(self._result(pod_id), _MAX_RECORD), type=dict[str, msgspec.Raw])
        except (CrispError, OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}


class _Interface(msgspec.Struct):
    ifname: str
    config: msgspec.Raw


class _Record(msgspec.Struct):
    """The document in `attachments/`."""

    version: int
    netns: str
    args: str
    capability_args: dict[str, Any]
    interfaces: list[_Interface]


def _is_record(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _encode(attachment: Attachment) -> bytes:
    record = _Record(
        version=VERSION,
        netns=attachment.netns,
        args=attachment.args,
        capability_args=dict(attachment.capability_args),
        interfaces=[
            _Interface(interface.ifname, msgspec.Raw(interface.network.document()))
            for interface in attachment.interfaces
        ],
    )
    return msgspec.json.encode(record)


def _decode(pod_id: str, document: bytes, results: Mapping[str, msgspec.Raw]) -> Attachment:
    record = decode_versioned(document, _Record, VERSION, f"attachment of pod {pod_id}")
    return Attachment(
        pod_id=pod_id,
        netns=record.netns,
        args=record.args,
        capability_args=record.capability_args,
        interfaces=tuple(
            Interface(
                ifname=interface.ifname,
                network=parse(bytes(interface.config)),
                result=bytes(results.get(interface.ifname, b"")),
            )
            for interface in record.interfaces
        ),
    )


_fits: type[Attachments] = AttachmentFiles
