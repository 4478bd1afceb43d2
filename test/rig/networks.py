"""A node and pods made of nothing but network namespaces, and a look at what is left in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core.linux.ns import CLONE_NEWNET, pin, setns, unpin, unshare
from core.network.attachments import AttachmentFiles
from core.network.builtin.bridge import BridgeConfig, BridgeNetwork, open_bridge
from core.network.cni import CniConfig, CniNetwork, open_cni
from core.network.netlink import Netlink, set_link
from core.network.netns import inside, socket_in
from core.network.network import PodNetwork, PortMapping
from core.network.podcidr import PodRanges
from rig.patience import patient

PLUGINS = "/usr/lib/cni"
BRIDGE = "tbr0"
PATIENCE = patient(5)  # seconds; nothing here takes as many milliseconds unless it is broken


@contextlib.contextmanager
def node_namespace() -> Iterator[None]:
    """The calling thread, and what it starts, are on a node of their own, with `lo` up, inside the block."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        output("ip", "link", "set", "lo", "up")
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


class Pods:
    """Pod namespaces pinned in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def new(self, number: int = 1, *, ports: tuple[PortMapping, ...] = (), **asked: Any) -> PodNetwork:
        netns = str(self._directory / f"pod{number}.net")
        inside("/proc/self/ns/net", lambda: _pin_new(netns))
        inside(netns, lambda: output("ip", "link", "set", "lo", "up"))
        return PodNetwork(
            id=f"sandbox{number}",
            name=f"web-{number}",
            namespace="default",
            uid=f"uid-{number}",
            netns=netns,
            port_mappings=ports,
            **asked,
        )

    def end(self, pod: PodNetwork) -> None:
        unpin(pod.netns)

    def end_all(self) -> None:
        for path in self._directory.glob("*.net"):
            unpin(str(path))


def _pin_new(netns: str) -> None:
    unshare(CLONE_NEWNET)
    pin("/proc/thread-self/ns/net", netns)


class CniNode:
    """CNI with real plugins or others; everything they write is in `directory`."""

    def __init__(self, directory: Path, bin_dirs: Sequence[str] = (PLUGINS,), **config: Any) -> None:
        self.conf_dir = directory / "net.d"
        self.root = directory / "cni"
        self.leases = directory / "ipam"
        self.ranges = directory / "pod-ranges"
        self.conf_dir.mkdir(exist_ok=True)
        self.config = CniConfig(conf_dir=str(self.conf_dir), bin_dirs=tuple(bin_dirs), **config)

    def write(self, name: str, *plugins: dict[str, Any], version: str = "1.0.0", **keys: Any) -> None:
        """Configure network `name` in one step, as an installer does."""
        document = {"cniVersion": version, "name": name, "plugins": plugins, **keys}
        fresh = self.conf_dir.parent / f"{name}.new"
        fresh.write_text(json.dumps(document))
        fresh.rename(self.conf_dir / f"10-{name}.conflist")

    def bridge(self, subnet: str = "10.77.0.0/24") -> dict[str, Any]:
        ipam = {"type": "host-local", "dataDir": str(self.leases), "ranges": [[{"subnet": subnet}]]}
        return {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {**ipam, "routes": [{"dst": "0.0.0.0/0"}]},
        }

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[CniNetwork]:
        with ThreadPoolExecutor(4) as executor:
            files, ranges = AttachmentFiles(str(self.root)), PodRanges(str(self.ranges))
            async with (
                asyncio.TaskGroup() as group,
                open_cni(self.config, files, executor, group, ranges=ranges) as network,
            ):
                yield network

    def leftovers(self) -> list[str]:
        """Records, and addresses that host-local has given away."""
        return [str(path) for path in (*self.leases.rglob("10.*"), *self.root.rglob("*.json"))]


class BridgeNode:
    """The embedded network; everything it writes is in `directory`."""

    def __init__(self, directory: Path, subnets: tuple[str, ...] = ("10.77.0.0/24",)) -> None:
        self.root = directory / "bridge"
        self.config = BridgeConfig(root=str(self.root), bridge=BRIDGE, subnets=subnets)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[BridgeNetwork]:
        with ThreadPoolExecutor(4) as executor:
            async with asyncio.TaskGroup() as group, open_bridge(self.config, executor, group) as network:
                yield network

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.root.rglob("*.json")]


def exchange(server: str, port: int, client: str, address: str, to_port: int | None = None) -> str:
    """Listen on `port` in namespace `server`, connect from namespace `client`; returns whom the server saw.

    Raises OSError when the two do not meet.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    stream = (family, socket.SOCK_STREAM)
    with socket_in(server, *stream) as listening, socket_in(client, *stream) as end:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("", port))
        listening.listen()
        listening.settimeout(PATIENCE)
        end.settimeout(PATIENCE)
        end.connect((address, to_port or port))
        connection, peer = listening.accept()
        connection.close()
        return str(peer[0])


def move_into(netns: str, link: str) -> None:
    """Move interface `link` of the calling thread's namespace into `netns`."""
    with open(netns, "rb") as namespace, Netlink() as node:
        node.request(set_link(f"move {link}", node.index(link), [("IFLA_NET_NS_FD", namespace.fileno())]))


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def links() -> set[str]:
    """Names of the interfaces of the calling thread's namespace, without `lo`."""
    return {link["ifname"] for link in json.loads(output("ip", "-j", "link"))} - {"lo"}


def filter_lines(*words: str) -> list[str]:
    """Lines of the packet filter of the calling thread's namespace that have one of `words` in them."""
    return [line.strip() for line in output("nft", "list", "ruleset").splitlines() if any(w in line for w in words)]


async def wait_until(condition: Any) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)
