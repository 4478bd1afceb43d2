"""What each pod has of the embedded network, in a file each: enough to undo it, before it is done."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass

import msgspec

from core.errdefs import CrispError, FailedPrecondition
from core.files.atomic import write_atomic
from core.files.dirs import make_dirs
from core.files.read import read_limited
from core.files.versioned import decode_versioned
from core.log import get_logger
from core.network.network import PortMapping

log = get_logger(__name__)

VERSION = 1
_MAX_LEASE = 1 << 20  # bytes; a lease has some hundred, and 40 per host port
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    pod_id: str
    netns: str
    addresses: tuple[str, ...]
    """With the prefix of their subnet."""
    ports: tuple[PortMapping, ...] = ()
    connected: bool = False
    """Whether all of it had been done when this was written."""
    version: int = VERSION

    @property
    def link(self) -> str:
        """The node's end of the pod's veth, by a name that follows from the pod: 15 characters are all there is."""
        return "veth" + hashlib.sha256(self.pod_id.encode()).hexdigest()[:11]


class LeaseFiles:
    """<root>/<pod id>.json. Not synced: after a power cut there is no bridge, either. All calls block."""

    def __init__(self, root: str) -> None:
        self._root = root
        make_dirs(root, 0o700)

    def load(self) -> list[Lease]:
        """All of them; one that cannot be read is reported and left where it is.

        Raises FailedPrecondition when a newer crispd has written one, whose address would be given away again.
        """
        names = [name for name in os.listdir(self._root) if name.endswith(_SUFFIX) and not name.startswith(".")]
        return [lease for name in sorted(names) if (lease := self._load(os.path.join(self._root, name)))]

    def put(self, lease: Lease) -> None:
        write_atomic(self._path(lease.pod_id), msgspec.json.encode(lease), durable=False)

    def delete(self, pod_id: str) -> None:
        """Success when absent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(pod_id))

    def _load(self, path: str) -> Lease | None:
        try:
            return decode_versioned(read_limited(path, _MAX_LEASE), Lease, VERSION, path)
        except FailedPrecondition:
            raise
        except (CrispError, OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            log.error("lease cannot be read", path=path, error=exc)
            return None

    def _path(self, pod_id: str) -> str:
        return os.path.join(self._root, pod_id + _SUFFIX)
