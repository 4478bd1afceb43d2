import asyncio
import contextlib
from collections.abc import Collection

from core.errdefs import Unavailable
from core.network.network import NetworkResult, NetworkStatus, PodNetwork
from cri.sandbox.sweep import collect_regularly


class Network:
    """Counts collections; the first one fails."""

    def __init__(self) -> None:
        self.collected: list[Collection[str]] = []
        self.enough = asyncio.Event()

    async def attach(self, pod: PodNetwork) -> NetworkResult:
        raise NotImplementedError

    async def detach(self, pod: PodNetwork) -> None:
        raise NotImplementedError

    def status(self) -> NetworkStatus:
        raise NotImplementedError

    def held(self) -> frozenset[str]:
        return frozenset({"pod"})

    async def check(self, pod_id: str) -> None:
        raise NotImplementedError

    async def collect(self, gone: Collection[str]) -> None:
        self.collected.append(gone)
        if len(self.collected) == 1:
            raise Unavailable("plugin fails")
        self.enough.set()


async def test_the_network_is_collected_again_and_again_and_no_attachment_is_given_up() -> None:
    network = Network()
    collecting = asyncio.create_task(collect_regularly(network, period=0.001))
    async with asyncio.timeout(5):
        await network.enough.wait()
    collecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await collecting
    assert set(map(len, network.collected)) == {0}
