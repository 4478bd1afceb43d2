"""Which addresses of a subnet are in use."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from core.errdefs import InvalidArgument, ResourceExhausted
from core.network.netlink import Address, Interface

_MIN_BITS = 2  # host bits: the network, the gateway, one pod, the broadcast address
_MAX_BITS = 16  # host bits that are handed out, so that finding a free one stays cheap in an IPv6 subnet of 64


class Pool:
    """Hands out the addresses of `subnet` in a round, so that one that has just become free is taken last.

    The first address is the gateway's.
    """

    def __init__(self, subnet: str, in_use: Iterable[str] = ()) -> None:
        """Raises InvalidArgument. Addresses `in_use` that are not of this subnet do not matter."""
        try:
            self.network = ipaddress.ip_network(subnet)
        except ValueError as exc:
            raise InvalidArgument(f"subnet of the embedded network: {exc}") from exc
        bits = self.network.max_prefixlen - self.network.prefixlen
        if bits < _MIN_BITS:
            raise InvalidArgument(f"subnet {subnet} of the embedded network: too small for a pod")
        self._first = int(self.network.network_address)
        self._size = (1 << min(bits, _MAX_BITS)) - 3
        taken = (int(address) - self._first for address in map(ipaddress.ip_address, in_use) if address in self.network)
        self._used = {number for number in taken if number > 1}
        self._next = max(self._used, default=1) - 1

    @property
    def gateway(self) -> Interface:
        return self._interface(1)

    def take(self) -> Interface:
        """An address with the subnet's prefix. Raises ResourceExhausted."""
        for step in range(self._size):
            number = 2 + (self._next + step) % self._size
            if number not in self._used:
                self._used.add(number)
                self._next = number - 1
                return self._interface(number)
        raise ResourceExhausted(f"no address left in {self.network}: {self._size} pods have one")

    def give_back(self, address: Address) -> None:
        self._used.discard(int(address) - self._first)

    def _interface(self, number: int) -> Interface:
        return ipaddress.ip_interface((self._first + number, self.network.prefixlen))
