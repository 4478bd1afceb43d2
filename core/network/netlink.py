"""rtnetlink and nfnetlink: the only importer of pyroute2, whose classes know how messages look. The sockets are ours.

pyroute2's own sockets run an event loop each and cost 0.26 ms a request; ours send several requests in one system call.
Importing it takes 120 ms and 11 MiB on top of gRPC, which a node with CNI need not pay: `load_codecs` does it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, Self

from core.network.netns import socket_in

NETLINK_NETFILTER = 12  # linux/netlink.h
_ERROR = 2  # NLMSG_ERROR, also the acknowledgement
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400  # NLM_F_*
_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24  # RTM_*, linux/rtnetlink.h
_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES, linux/netfilter/nfnetlink.h
_BATCH_BEGIN, _BATCH_END = 16, 17  # NFNL_MSG_*
_GETTABLE, _NEWSETELEM, _DELSETELEM = 1, 12, 14  # NFT_MSG_*, linux/netfilter/nf_tables.h
_MAIN, _BOOT, _UNICAST = 254, 3, 1  # RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST, linux/rtnetlink.h
_UP = 1  # IFF_UP
_NODAD = 0x2  # IFA_F_NODAD
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_SIOCGIFINDEX = 0x8933
_BUFFER = 64 << 10  # bytes; an acknowledgement has at most the request in it
_PATIENCE = struct.pack("=qq", 5, 0)  # struct timeval; the kernel answers at once, or not at all in a broken batch

_TRANSACTION = tuple(
    _HEADER.pack(_HEADER.size + 4, kind, _REQUEST, 0, 0) + struct.pack(">BBH", socket.AF_UNSPEC, 0, _NFTABLES)
    for kind in (_BATCH_BEGIN, _BATCH_END)
)
"""nftables takes changes between these two only, all or none."""

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request, ready but for its sequence number."""

    type: int
    flags: int
    body: bytes
    what: str
    """For errors."""
    around: tuple[bytes, ...] = (b"", b"")
    """What has to be sent before and after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A map of nftables."""

    version: int
    """Of IP: table family `ip` or `ip6`."""
    table: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Codecs:
    """pyroute2's message classes."""

    link: Any
    address: Any
    route: Any
    elements: Any
    table: Any


@functools.cache
def load_codecs() -> Codecs:
    """Import pyroute2, at the first call. Blocks for 120 ms."""
    from pyroute2.netlink.nfnetlink.nftsocket import (  # noqa: PLC0415 - see above
        nft_set_elem_list_msg,
        nft_table_msg,
    )
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415

    return Codecs(
        link=ifinfmsg, address=ifaddrmsg, route=rtmsg, elements=nft_set_elem_list_msg, table=nft_table_msg
    )


class Netlink:
    """A netlink socket of the network namespace at `netns` ("" is the caller's). Blocks; one thread at a time."""

    def __init__(self, netns: str = "", protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, *messages: Message) -> None:
        """Let the kernel do `messages` in order, sent at once. It does all of them, whether earlier ones fail or not.

        Raises OSError for the first that failed.
        """
        first = self._sequence + 1
        self._sequence += len(messages)
        self._socket.send(b"".join(_frame(message, first + number) for number, message in enumerate(messages)))
        failed = [exc for message in messages if (exc := self._answer(message))]
        if failed:
            raise failed[0]

    def index(self, name: str) -> int:
        """Index of interface `name`. Raises OSError(ENODEV)."""
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("16s16x", name.encode()))
        except OSError as exc:
            raise OSError(exc.errno, f"interface {name}: {exc.strerror}") from exc
        return int(struct.unpack_from("16xi", answer)[0])

    def _answer(self, message: Message) -> OSError | None:
        """Acknowledgements come one per datagram, in the order of the requests, after what was asked for."""
        while _HEADER.unpack_from(data := self._socket.recv(_BUFFER))[1] != _ERROR:
            pass
        code = -struct.unpack_from("=i", data, _HEADER.size)[0]
        return OSError(code, f"{message.what}: {os.strerror(code)}") if code else None


def new_link(what: str, attributes: list[Any]) -> Message:
    """Make an interface and bring it up."""
    return Message(type=_NEWLINK, flags=_CREATE | _EXCL, body=_link_body(0, attributes), what=what)


def set_link(what: str, index: int, attributes: list[Any]) -> Message:
    """Change the interface with `index` and bring it up."""
    return Message(type=_NEWLINK, flags=0, body=_link_body(index, attributes), what=what)


def peer(attributes: list[Any]) -> tuple[str, Any]:
    """IFLA_INFO_DATA of a veth: its other end. It stays down: ENOTCONN while the two do not know each other."""
    return ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", {"index": 0, "attrs": attributes})]})


def delete_link(name: str) -> Message:
    """It fails with ENODEV when the interface is not there."""
    body = _body(load_codecs().link(), [("IFLA_IFNAME", name)])
    return Message(type=_DELLINK, flags=0, body=body, what=f"delete interface {name}")


def new_address(index: int, interface: Interface) -> Message:
    """Give the interface with `index` the address at once, without duplicate address detection."""
    codec = load_codecs().address()
    codec["family"], codec["prefixlen"], codec["index"] = _family(interface), interface.network.prefixlen, index
    address = str(interface.ip)
    body = _body(codec, [("IFA_LOCAL", address), ("IFA_ADDRESS", address), ("IFA_FLAGS", _NODAD)])
    return Message(type=_NEWADDR, flags=_CREATE | _REPLACE, body=body, what=f"add address {interface}")


def new_default_route(index: int, gateway: Address) -> Message:
    codec = load_codecs().route()
    codec["family"], codec["table"], codec["proto"], codec["type"] = _family(gateway), _MAIN, _BOOT, _UNICAST
    body = _body(codec, [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)])
    return Message(type=_NEWROUTE, flags=_CREATE | _REPLACE, body=body, what=f"add default route by {gateway}")


@functools.cache  # each pod asks for the one or two that there are
def get_table(version: int, name: str) -> Message:
    """It fails with ENOENT when nftables has no such table for IP `version`."""
    codec = load_codecs().table()
    codec["nfgen_family"] = socket.AF_INET if version == 4 else socket.AF_INET6
    return Message(
        type=_NFTABLES << 8 | _GETTABLE,
        flags=0,
        body=_body(codec, [("NFTA_TABLE_NAME", name)]),
        what=f"nftables table {name}",
    )


def new_elements(target: Map, elements: Sequence[tuple[bytes, bytes]]) -> Message:
    """Add `elements` (key, value); a key that is there with the same value is no error."""
    parts = [[("NFTA_SET_ELEM_KEY", _data(key)), ("NFTA_SET_ELEM_DATA", _data(value))] for key, value in elements]
    return _elements(_NEWSETELEM, _CREATE, target, parts)


def delete_element(target: Map, key: bytes) -> Message:
    """It fails with ENOENT when the element, the map or the table is not there."""
    return _elements(_DELSETELEM, 0, target, [[("NFTA_SET_ELEM_KEY", _data(key))]])


def _elements(kind: int, flags: int, target: Map, elements: list[list[Any]]) -> Message:
    attributes = [
        ("NFTA_SET_ELEM_LIST_TABLE", target.table),
        ("NFTA_SET_ELEM_LIST_SET", target.name),
        ("NFTA_SET_ELEM_LIST_ELEMENTS", [{"attrs": element} for element in elements]),
    ]
    codec = load_codecs().elements()
    codec["nfgen_family"] = socket.AF_INET if target.version == 4 else socket.AF_INET6
    body = _body(codec, attributes)
    what = f"nftables map {target.name} of table {target.table}"
    return Message(type=_NFTABLES << 8 | kind, flags=flags, body=body, what=what, around=_TRANSACTION)


def _link_body(index: int, attributes: list[Any]) -> bytes:
    codec = load_codecs().link()
    codec["index"], codec["flags"], codec["change"] = index, _UP, _UP
    return _body(codec, attributes)


def _data(value: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def _family(address: Address | Interface) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _body(codec: Any, attributes: list[Any]) -> bytes:
    codec["attrs"] = attributes
    codec.encode()
    return bytes(codec.data[_HEADER.size :])


def _frame(message: Message, sequence: int) -> bytes:
    flags = message.flags | _REQUEST | _ACK
    header = _HEADER.pack(_HEADER.size + len(message.body), message.type, flags, sequence, 0)
    before, after = message.around
    return before + header + message.body + after
