"""CNI on a node that has a configuration for it, the embedded network on one that has none."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from core.network.network import Network, NetworkResult, NetworkStatus, PodNetwork


class Holder(Network, Protocol):
    def holds(self, pod_id: str) -> bool:
        """Whether the pod is, or may still be, attached here."""


class Configurable(Holder, Protocol):
    @property
    def configured(self) -> bool:
        """Whether somebody wants pods on this network, be it ready or not."""


class ChosenNetwork:
    """New pods go to `cni` once it is configured, else to `builtin`; a pod stays with whom it is.

    A configured network that is not ready makes pods wait. It never sends them to the other one, where neither their
    peers nor their network policies are.
    """

    def __init__(self, cni: Configurable, builtin: Holder) -> None:
        self._cni = cni
        self._builtin = builtin

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        return await self._choose(pod).attach(pod)

    async def detach(self, pod: PodNetwork) -> None:
        """Both are asked: to detach what one never attached is no error."""
        await self._cni.detach(pod)
        await self._builtin.detach(pod)

    def status(self) -> NetworkStatus:
        return (self._cni if self._cni.configured else self._builtin).status()

    def held(self) -> frozenset[str]:
        return self._cni.held() | self._builtin.held()

    async def check(self, pod_id: str) -> None:
        await (self._holder(pod_id) or self._cni).check(pod_id)

    async def collect(self, gone: Collection[str]) -> None:
        await self._cni.collect(gone)
        await self._builtin.collect(gone)

    def _choose(self, pod: PodNetwork) -> Network:
        return self._holder(pod.id) or (self._cni if self._cni.configured else self._builtin)

    def _holder(self, pod_id: str) -> Network | None:
        return next((network for network in (self._cni, self._builtin) if network.holds(pod_id)), None)


_fits: type[Network] = ChosenNetwork
