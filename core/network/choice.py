"""The embedded network on a node that has no CNI configuration, CNI as soon as it has one."""

from __future__ import annotations

from collections.abc import Collection

from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork


class ChosenNetwork:
    """New pods go to `cni` while it is ready, else to `builtin`; each detaches what it attached."""

    def __init__(self, cni: Network, builtin: Network) -> None:
        self._cni = cni
        self._builtin = builtin

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        return await (self._cni if self._cni.status().ready else self._builtin).attach(pod)

    async def detach(self, pod: PodNetwork) -> None:
        """Both are asked: to detach what one never attached is no error."""
        await self._cni.detach(pod)
        await self._builtin.detach(pod)

    def status(self) -> NetworkStatus:
        cni = self._cni.status()
        return cni if cni.ready else self._builtin.status()

    async def collect(self, keep: Collection[str]) -> None:
        await self._cni.collect(keep)
        await self._builtin.collect(keep)


_fits: type[Network] = ChosenNetwork
