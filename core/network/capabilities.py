"""What a pod tells plugins beside their configuration: CNI_ARGS and capability arguments (CNI CONVENTIONS.md)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from core.errdefs import InvalidArgument
from core.network.network import PodNetwork, PortMapping
from core.types import identifier

IPS = "network.crisp.io/ips"
"""Annotation: addresses that the pod wants for its first interface, `10.1.2.3, fd00::3`, with a prefix or without."""
MAC = "network.crisp.io/mac"
"""Annotation: the hardware address of its first interface."""
FIRST_ONLY = frozenset({"ips", "mac"})
"""Capabilities that mean one interface, and so are not for the second one's network."""

_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_BURST = (1 << 31) - 1  # bits: the most that the bandwidth plugin's token bucket takes
_MIN_RATE, _MAX_RATE = 1000, 10**15  # bits/s: 1k to 1P, as the annotations are documented
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(?:e([+-]?\d{1,2})|([kKMGTPE]i?|m))?")
_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001")}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}


def cni_args(pod: PodNetwork) -> str:
    """CNI_ARGS as Kubernetes plugins read them. Raises InvalidArgument."""
    values = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": identifier(pod.id, "sandbox id"),
        "K8S_POD_UID": pod.uid,
    }
    for key, value in values.items():
        if not value.isprintable() or ";" in value or "=" in value:
            raise InvalidArgument(f"{key} {value[:80]!r}: CNI_ARGS cannot carry ; = or control characters")
    return ";".join(f"{key}={value}" for key, value in values.items())


def capability_args(pod: PodNetwork, ranges: Sequence[str] = ()) -> dict[str, Any]:
    """Everything a plugin may declare that it wants, by capability; `ranges` are those of the node's pods.

    A pod asks for addresses and a hardware address in annotations: only a plugin whose configuration offers `ips` and
    `mac` hears of it, so it is the administrator who lets pods choose. Raises InvalidArgument.
    """
    offered = {
        "portMappings": [_port(mapping) for mapping in pod.port_mappings],
        "bandwidth": _bandwidth(pod.annotations),
        "dns": _dns(pod),
        "ipRanges": [[{"subnet": subnet}] for subnet in ranges],
        "ips": _ips(pod.annotations.get(IPS, "")),
        "mac": _mac(pod.annotations.get(MAC, "")),
        "cgroupPath": pod.cgroup_parent,
        "io.kubernetes.cri.pod-annotations": dict(pod.annotations),
    }
    return {name: value for name, value in offered.items() if value}


def bits_per_second(quantity: str) -> int:
    """A Kubernetes quantity (`10M`, `1Gi`, `1e6`) as a rate. Raises InvalidArgument."""
    match = _QUANTITY.fullmatch(quantity)
    if not match:
        raise InvalidArgument(f"bandwidth {quantity[:80]!r}: want a quantity such as 10M")
    number, exponent, suffix = match.groups()
    factor = Decimal(10) ** int(exponent) if exponent else _SUFFIXES.get(suffix or "")
    if factor is None:
        raise InvalidArgument(f"bandwidth {quantity[:80]!r}: no such suffix")
    rate = Decimal(number) * factor
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise InvalidArgument(f"bandwidth {quantity[:80]!r}: want 1k to 1P")
    return int(rate)


def _port(mapping: PortMapping) -> dict[str, str | int]:
    return {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol,
        "hostIP": mapping.host_ip,
    }


def _bandwidth(annotations: Mapping[str, str]) -> dict[str, int]:
    rates: dict[str, int] = {}
    for direction in ("ingress", "egress"):
        quantity = annotations.get(f"kubernetes.io/{direction}-bandwidth")
        if quantity:
            rates |= {f"{direction}Rate": bits_per_second(quantity), f"{direction}Burst": _BURST}
    return rates


def _ips(wanted: str) -> list[str]:
    addresses = [address.strip() for address in wanted.split(",") if address.strip()]
    for address in addresses:
        try:
            ipaddress.ip_interface(address)
        except ValueError as exc:
            raise InvalidArgument(f"annotation {IPS}: {exc}") from exc
    return addresses


def _mac(wanted: str) -> str:
    if wanted and not _MAC.fullmatch(wanted):
        raise InvalidArgument(f"annotation {MAC} {wanted[:80]!r}: want six bytes such as 0a:58:0a:01:02:03")
    return wanted


def _dns(pod: PodNetwork) -> dict[str, list[str]]:
    parts = {"servers": pod.dns_servers, "searches": pod.dns_searches, "options": pod.dns_options}
    return {name: list(values) for name, values in parts.items() if values}
