"""The bridge, and the veth of each pod."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence

from core.network.builtin.leases import Lease
from core.network.netlink import (
    Address,
    Interface,
    Message,
    Netlink,
    delete_link,
    new_address,
    new_default_route,
    new_link,
    peer,
    set_link,
)
from core.network.netns import inside

_ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}  # for documentation: RFC 5737, RFC 3849
POD_INTERFACE = "eth0"
_MAC_PREFIX = "0a:58"  # locally administered
_SYSCTLS = {
    4: ("ipv4/ip_forward", "ipv4/conf/{bridge}/route_localnet"),  # the latter for 127.0.0.1:<host port>
    6: ("ipv6/conf/all/forwarding",),
}


def exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def make_bridge(name: str, gateways: Sequence[Interface]) -> None:
    """Make the bridge where it is missing, give it its addresses and let the node forward. Raises OSError."""
    with Netlink() as node:
        with _ignoring(errno.EEXIST):
            node.request(_new_bridge(name, mac(gateways[0])))
        _take_no_routers(name)
        index = node.index(name)
        node.request(*(new_address(index, gateway) for gateway in gateways))
    for version in sorted({gateway.version for gateway in gateways}):
        for key in _SYSCTLS[version]:
            _write_sysctl(key.format(bridge=name), "1")


def remove(name: str) -> None:
    """Remove an interface; success when it is gone. Raises OSError."""
    with Netlink() as node, _ignoring(errno.ENODEV):
        node.request(delete_link(name))


def connect(lease: Lease, bridge: str, addresses: Sequence[Interface], gateways: Sequence[Interface]) -> None:
    """Put a veth between `bridge` and the pod, with the pod's addresses and default routes. Raises OSError."""
    remove(lease.link)  # of an attempt that was cut off
    with Netlink() as node, Netlink(lease.netns) as pod:
        netns = os.open(lease.netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            node.request(_new_veth(lease.link, node.index(bridge), netns, mac(addresses[0])))
        finally:
            os.close(netns)
        node.request(_hairpin(lease.link, node.index(lease.link)))
        inside(lease.netns, lambda: _take_no_routers(POD_INTERFACE))
        index = pod.index(POD_INTERFACE)
        pod.request(
            set_link(f"bring up {POD_INTERFACE}", index, []),
            *(new_address(index, address) for address in addresses),
            *(new_default_route(index, gateway.ip) for gateway in gateways),
        )


def rejoin(lease: Lease, bridge: str) -> None:
    """Put the node's end of the pod's veth on `bridge`, which was made anew. Raises OSError."""
    with Netlink() as node:
        index = node.index(lease.link)
        node.request(set_link(f"put {lease.link} on {bridge}", index, [("IFLA_MASTER", node.index(bridge))]))
        node.request(_hairpin(lease.link, index))


def check(lease: Lease, bridge: str) -> None:
    """Return when the links are there, and the pod has its addresses and its default routes. Raises OSError."""
    with Netlink() as node:
        for name in (bridge, lease.link):
            node.index(name)
    addresses = [ipaddress.ip_interface(text).ip for text in lease.addresses]
    inside(lease.netns, lambda: _check_addresses(addresses))


def _check_addresses(addresses: Sequence[Address]) -> None:
    """Nothing is sent: the kernel looks for each address and for a way from it to a host that is not on the bridge."""
    for address in addresses:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((str(address), 0))
                probe.connect((_ELSEWHERE[address.version], 9))
        except OSError as exc:
            raise OSError(exc.errno, f"{POD_INTERFACE} of the pod, {address}: {exc.strerror}") from exc


def mac(address: Interface) -> str:
    """A hardware address that follows from the address: neighbours need not learn a new one when it is used again."""
    return ":".join((_MAC_PREFIX, *(f"{byte:02x}" for byte in address.packed[-4:])))


def _new_bridge(name: str, address: str) -> Message:
    """With a fixed hardware address: it would take the lowest of its ports', and pods would lose their gateway."""
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", address),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
    ]
    return new_link(f"make bridge {name}", attributes)


def _new_veth(name: str, bridge: int, netns: int, address: str) -> Message:
    end = peer([("IFLA_IFNAME", POD_INTERFACE), ("IFLA_ADDRESS", address), ("IFLA_NET_NS_FD", netns)])
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_MASTER", bridge),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), end]}),
    ]
    return new_link(f"make veth {name}", attributes)


def _hairpin(name: str, index: int) -> Message:
    """Let a pod reach itself through a host port."""
    mode = {"attrs": [("IFLA_BRPORT_MODE", 1)]}
    port = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", mode)]}
    return set_link(f"set hairpin mode of {name}", index, [("IFLA_LINKINFO", port)])


def _take_no_routers(interface: str) -> None:
    """Any pod may send raw packets: it would be the router of node and other pods by saying so (CVE-2020-10749)."""
    with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel
        _write_sysctl(f"ipv6/conf/{interface}/accept_ra", "0")


def _write_sysctl(key: str, value: str) -> None:
    fd = os.open(f"/proc/sys/net/{key}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


@contextlib.contextmanager
def _ignoring(number: int) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno != number:
            raise
