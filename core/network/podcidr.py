"""The ranges that the cluster gives to the node's pods: kept, and made into a network where nobody installs one."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence

from core.errdefs import CrispError, InvalidArgument, NotFound
from core.files.atomic import write_atomic
from core.files.read import read_limited
from core.log import get_logger
from core.network.confdir import MAX_CONFIG, SUFFIXES
from core.network.conflist import parse
from core.network.template import render

log = get_logger(__name__)

FILE = "10-crisp.conflist"
_MAX_KEPT = 4096  # bytes; two ranges have 60


class PodRanges:
    """As the kubelet last told them. It does not tell them again when only the daemon restarts: a file keeps them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.ranges = self._load()

    def put(self, cidrs: Sequence[str]) -> None:
        """Idempotent. Blocks. Raises InvalidArgument, OSError."""
        ranges = tuple(str(_range(cidr)) for cidr in cidrs)
        if ranges != self.ranges:
            write_atomic(self._path, "\n".join(ranges).encode())
            self.ranges = ranges

    def _load(self) -> tuple[str, ...]:
        try:
            return tuple(str(_range(line)) for line in read_limited(self._path, _MAX_KEPT).decode().split())
        except FileNotFoundError:
            return ()
        except (CrispError, OSError, UnicodeDecodeError) as exc:
            log.warning("pod ranges cannot be read: the kubelet's next ones count", path=self._path, error=exc)
            return ()


def write_network(template: str, conf_dir: str, cidrs: Sequence[str]) -> None:
    """Write the configuration of the template at path `template` for `cidrs` into `conf_dir`, whole or not at all.

    Not where somebody else has put one: that is the network then. Idempotent. Blocks.
    Raises InvalidArgument (ranges, template), NotFound (template), OSError.
    """
    networks = [_range(cidr) for cidr in cidrs]
    os.makedirs(conf_dir, exist_ok=True)
    others = [name for name in os.listdir(conf_dir) if name.endswith(SUFFIXES) and name != FILE]
    if others:
        log.info("pod ranges are the network plugin's affair", conf_dir=conf_dir, found=min(others))
        return
    document = render(_read(template), _values(networks)).encode()
    parse(document)
    write_atomic(os.path.join(conf_dir, FILE), document, 0o644)
    log.info("network configured", file=FILE, ranges=",".join(map(str, networks)))


Range = ipaddress.IPv4Network | ipaddress.IPv6Network


def _range(cidr: str) -> Range:
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError as exc:
        raise InvalidArgument(f"pod_cidr: {exc}") from exc


def _values(networks: Sequence[Range]) -> dict[str, str | int | list[str]]:
    """The names that such templates know: a default route of each family beside the ranges."""
    routes = {4: "0.0.0.0/0", 6: "::/0"}
    families = sorted({network.version for network in networks})
    return {
        ".PodCIDR": str(networks[0]),
        ".PodCIDRRanges": [str(network) for network in networks],
        ".Routes": [routes[family] for family in families],
    }


def _read(path: str) -> str:
    try:
        return read_limited(path, MAX_CONFIG).decode()
    except FileNotFoundError as exc:
        raise NotFound(f"cni.conf_template {path}: no such file") from exc
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"cni.conf_template {path}: {exc}") from exc
