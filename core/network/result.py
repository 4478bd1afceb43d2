"""Results of CNI plugins (CNI spec 1.1, section 5, "ADD Success"): checked, and read for the pod's addresses."""

from __future__ import annotations

import ipaddress

import msgspec

from core.errdefs import Unavailable


class _Interface(msgspec.Struct):
    name: str = ""
    sandbox: str = ""


class _Address(msgspec.Struct):
    address: str
    interface: int | None = None


class _Result(msgspec.Struct):
    interfaces: list[_Interface] | None = None
    ips: list[_Address] | None = None


def check_result(document: bytes, plugin: str) -> None:
    """Raises Unavailable unless `document`, of `plugin`, is a result with valid addresses."""
    for ip in _decode(document, plugin).ips or ():
        _parse(ip.address, plugin)


def pod_addresses(document: bytes, ifname: str, network: str) -> tuple[str, ...]:
    """Addresses of the pod's interface `ifname`, without prefix, in the order of the result.

    Raises Unavailable when there is none, since the pod could not be reached.
    """
    result = _decode(document, network)
    interfaces = result.interfaces or []
    found = tuple(
        _parse(ip.address, network) for ip in result.ips or () if _belongs(ip, interfaces, ifname)
    )
    if not found:
        raise Unavailable(f"network {network!r} gave the pod's interface {ifname} no address")
    return found


def _belongs(ip: _Address, interfaces: list[_Interface], ifname: str) -> bool:
    """An address that names no interface, which is optional, is the pod's own."""
    if ip.interface is None or not interfaces:
        return True
    if not 0 <= ip.interface < len(interfaces):
        return False
    interface = interfaces[ip.interface]
    return interface.name == ifname and interface.sandbox != ""


def _parse(address: str, origin: str) -> str:
    try:
        return str(ipaddress.ip_interface(address).ip)
    except ValueError as exc:
        raise Unavailable(f"{origin}: result has the address {address[:80]!r}: {exc}") from exc


def _decode(document: bytes, origin: str) -> _Result:
    try:
        return msgspec.json.decode(document, type=_Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Unavailable(f"{origin}: result is no CNI result: {exc}") from exc
