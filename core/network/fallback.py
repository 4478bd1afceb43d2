"""One network as long as another is not configured: the embedded one, on a node without CNI."""

from __future__ import annotations

from collections.abc import Collection

from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork


class FallbackNetwork:
    """Implements Network with `first` where it is ready, else with `second`; each keeps the pods that it has."""

    def __init__(self, first: Network, second: Network) -> None:
        self._first = first
        self._second = second

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        network = self._first if self._first.status().ready else self._second
        return await network.attach(pod)

    async def detach(self, pod: PodNetwork) -> None:
        """Of both, since either may have it: detaching what is not attached costs nothing."""
        await self._first.detach(pod)
        await self._second.detach(pod)

    def status(self) -> NetworkStatus:
        return self._first.status() if self._first.status().ready else self._second.status()

    async def collect(self, keep: Collection[str]) -> None:
        await self._first.collect(keep)
        await self._second.collect(keep)


_fits: type[Network] = FallbackNetwork
