"""The packet filter of the embedded network: masquerade, host ports, and what keeps 127.0.0.0/8 to the node.

One table per IP version, named after the bridge. Rules are written once, with `nft`; host ports are elements of maps,
over netlink.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from core.network.builtin.leases import Lease
from core.network.netlink import NETLINK_NETFILTER, Address, Map, Netlink, delete_element, get_table, new_elements
from core.network.network import PortMapping

_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_PORTS, _ADDRESS_PORTS = "ports", "address_ports"

Element = tuple[Map, bytes, bytes]
"""Map, key, value."""


def ruleset(bridge: str, subnets: Sequence[str]) -> str:
    """Input of `nft -f -` that makes the tables, in place of what is there, without host ports."""
    return no_ruleset(bridge, subnets) + "".join(_table(bridge, subnet) for subnet in subnets)


def no_ruleset(bridge: str, subnets: Sequence[str]) -> str:
    """Input of `nft -f -` that removes the tables; success when they are gone."""
    return "".join(f"table {_family(subnet)} {bridge}\ndelete table {_family(subnet)} {bridge}\n" for subnet in subnets)


def tables_exist(bridge: str, subnets: Sequence[str]) -> bool:
    """Whether the tables are still there: others flush the whole packet filter of a node. Raises OSError."""
    with Netlink(protocol=NETLINK_NETFILTER) as nftables:
        try:
            nftables.request(*(get_table(6 if ":" in subnet else 4, bridge) for subnet in subnets))
        except FileNotFoundError:
            return False
    return True


def open_ports(bridge: str, lease: Lease) -> None:
    """Lead the node's ports to the pod; none may lead to another. Raises OSError."""
    if not lease.ports:
        return
    with Netlink(protocol=NETLINK_NETFILTER) as nftables:
        for target, key, value in _elements(bridge, lease):
            nftables.request(new_elements(target, [(key, value)]))


def close_ports(bridge: str, lease: Lease) -> None:
    """Undo `open_ports`, whole or half done. Raises OSError."""
    if not lease.ports:
        return
    with Netlink(protocol=NETLINK_NETFILTER) as nftables:
        for target, key, _ in _elements(bridge, lease):
            with contextlib.suppress(FileNotFoundError):
                nftables.request(delete_element(target, key))


def conflict(mapping: PortMapping, others: Iterable[PortMapping]) -> bool:
    """Whether `mapping` wants a port of the node that one of `others` has."""
    return any(
        (mapping.protocol, mapping.host_port) == (other.protocol, other.host_port)
        and (_is_any(mapping.host_ip) or _is_any(other.host_ip) or mapping.host_ip == other.host_ip)
        for other in others
    )


def _elements(bridge: str, lease: Lease) -> Iterator[Element]:
    for mapping in lease.ports:
        for address in (ipaddress.ip_interface(text).ip for text in lease.addresses):
            host_ip = ipaddress.ip_address(mapping.host_ip) if mapping.host_ip else None
            if host_ip is None or host_ip.version == address.version:
                yield _element(bridge, mapping, address, host_ip)


def _element(bridge: str, mapping: PortMapping, address: Address, host_ip: Address | None) -> Element:
    """In a concatenation each part is padded to 4 bytes (nftables, registers of 32 bits)."""
    key = struct.pack(">B3xH2x", _PROTOCOLS[mapping.protocol], mapping.host_port)
    value = address.packed + struct.pack(">H2x", mapping.container_port)
    if host_ip is None or host_ip.is_unspecified:
        return Map(version=address.version, table=bridge, name=_PORTS), key, value
    return Map(version=address.version, table=bridge, name=_ADDRESS_PORTS), host_ip.packed + key, value


def _is_any(host_ip: str) -> bool:
    return not host_ip or ipaddress.ip_address(host_ip).is_unspecified


def _family(subnet: str) -> str:
    return "ip6" if ":" in subnet else "ip"


def _table(bridge: str, subnet: str) -> str:
    """`fib daddr type local`: a host port is a port of the node, not of whatever passes it (CVE-2025-67499).

    Chain `guard`: services on the node's 127.0.0.1 are not for pods, though route_localnet is on (CVE-2020-8558).
    """
    family = _family(subnet)
    multicast, loopback = ("ff00::/8", "::1") if family == "ip6" else ("224.0.0.0/4", "127.0.0.0/8")
    port, address = "inet_proto . inet_service", "ipv6_addr" if family == "ip6" else "ipv4_addr"
    return f"""
table {family} {bridge} {{
    map {_PORTS} {{ type {port} : {address} . inet_service; }}
    map {_ADDRESS_PORTS} {{ type {address} . {port} : {address} . inet_service; }}
    chain host_ports {{
        dnat {family} to {family} daddr . meta l4proto . th dport map @{_ADDRESS_PORTS}
        fib daddr type local dnat {family} to meta l4proto . th dport map @{_PORTS}
    }}
    chain prerouting {{ type nat hook prerouting priority dstnat; jump host_ports; }}
    chain output {{ type nat hook output priority -100; jump host_ports; }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        {family} saddr {subnet} {family} daddr != {{ {subnet}, {multicast} }} masquerade
        ct status dnat {family} saddr {subnet} {family} daddr {subnet} masquerade
        ct status dnat oifname "{bridge}" fib saddr type local masquerade
    }}
    chain guard {{
        type filter hook prerouting priority raw;
        iifname "{bridge}" {family} daddr {loopback} drop
    }}
}}
"""
