"""Which network a pod goes to, and that it stays there."""

import pytest

from core.network.choice import ChosenNetwork
from core.network.network import NetworkResult, NetworkStatus, PodNetwork


class FakeNetwork:
    def __init__(self, name, *, configured=True, ready=True):
        self.name = name
        self.configured = configured
        self.ready = ready
        self.pods = set()

    def holds(self, pod_id):
        return pod_id in self.pods

    async def attach(self, pod):
        self.pods.add(pod.id)
        return NetworkResult(ips=(self.name,), interface="eth0", raw=b"")

    async def detach(self, pod):
        self.pods.discard(pod.id)

    def status(self):
        return NetworkStatus(ready=self.ready, message=self.name)

    def held(self):
        return frozenset(self.pods)

    async def collect(self, gone):
        self.pods -= set(gone)


def pod(number):
    return PodNetwork(id=f"sandbox{number}", name="web", namespace="default", uid="1", netns="/run/netns/1")


@pytest.fixture
def cni():
    return FakeNetwork("cni")


@pytest.fixture
def builtin():
    return FakeNetwork("builtin")


async def where(network, number=1):
    return (await network.attach(pod(number))).ips[0]


async def test_a_pod_goes_to_cni_where_it_is_configured(cni, builtin):
    assert await where(ChosenNetwork(cni, builtin)) == "cni"


async def test_a_pod_goes_to_the_embedded_network_where_cni_is_not_configured(cni, builtin):
    cni.configured = cni.ready = False
    network = ChosenNetwork(cni, builtin)
    assert await where(network) == "builtin"
    assert network.status() == builtin.status()


async def test_a_configured_network_that_is_not_ready_sends_no_pod_elsewhere(cni, builtin):
    cni.ready = False
    network = ChosenNetwork(cni, builtin)
    assert await where(network) == "cni"
    assert network.status() == cni.status()


async def test_a_pod_stays_where_it_is_when_the_choice_changes(cni, builtin):
    cni.configured = False
    network = ChosenNetwork(cni, builtin)
    assert await where(network, 1) == "builtin"
    cni.configured = True
    assert [await where(network, number) for number in (1, 2)] == ["builtin", "cni"]
    cni.configured = False
    assert await where(network, 2) == "cni"


async def test_detach_and_collect_reach_the_pods_of_both(cni, builtin):
    network = ChosenNetwork(cni, builtin)
    await builtin.attach(pod(1))
    await cni.attach(pod(2))
    await network.detach(pod(1))
    assert (builtin.pods, cni.pods) == (set(), {"sandbox2"})
    await builtin.attach(pod(1))
    assert network.held() == {"sandbox1", "sandbox2"}
    await network.collect({"sandbox2"})
    assert (builtin.pods, cni.pods) == ({"sandbox1"}, set())
