"""What every pod network does; `test_*` below are the sentences of core/network/network.py."""

import asyncio
from dataclasses import replace

import pytest

from core.errdefs import NotFound, ResourceExhausted, Unavailable
from core.network.netns import inside
from core.network.network import PortMapping
from rig.networks import (
    BRIDGE,
    BridgeNode,
    CniNode,
    Pods,
    exchange,
    filter_lines,
    links,
    node_namespace,
    output,
    wait_until,
)

pytestmark = pytest.mark.root

LOOPBACK = {"type": "loopback"}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


def cni(directory, subnet):
    node = CniNode(directory)
    node.write("pods", node.bridge(subnet), PORTMAP)
    return node


def builtin(directory, subnet):
    return BridgeNode(directory, (subnet,))


@pytest.fixture(params=[cni, builtin])
def make_node(request, tmp_path):
    with node_namespace():
        yield lambda subnet="10.77.0.0/24": request.param(tmp_path, subnet)


@pytest.fixture
def node(make_node):
    return make_node()


@pytest.fixture
def pods(make_node, tmp_path):
    pods = Pods(tmp_path / "pods")
    yield pods
    pods.end_all()


async def wait_only_bridge():
    """The kernel unlists the ends of a veth one after the other."""
    await wait_until(lambda: links() <= {BRIDGE})


async def test_attach_brings_up_eth0_with_the_address_that_it_returns(node, pods):
    pod = pods.new()
    async with node.open() as network:
        result = await network.attach(pod)
        shown = inside(pod.netns, lambda: output("ip", "-o", "addr", "show", "dev", "eth0", "up"))
        await network.detach(pod)
    assert result.interface == "eth0"
    assert [f"{ip}/24" in shown for ip in result.ips] == [True]
    assert b'"ips"' in result.raw


async def test_attach_again_returns_the_recorded_result(node, pods):
    pod = pods.new()
    async with node.open() as network:
        first = await network.attach(pod)
        assert await network.attach(pod) == first
        await network.detach(pod)


async def test_a_result_is_remembered_by_the_next_daemon(node, pods):
    pod = pods.new()
    async with node.open() as network:
        first = await network.attach(pod)
    async with node.open() as network:
        assert await network.attach(pod) == first
        await network.detach(pod)


async def test_pods_reach_each_other_and_the_node(node, pods):
    one, two = pods.new(1), pods.new(2)
    async with node.open() as network:
        first, second = await network.attach(one), await network.attach(two)
        assert exchange(one.netns, 80, two.netns, first.ips[0]) == second.ips[0]
        assert exchange(one.netns, 80, "", first.ips[0])
        await network.detach(one)
        await network.detach(two)


async def test_attaching_many_at_once_gives_each_its_own_address(node, pods):
    many = [pods.new(number) for number in range(8)]
    async with node.open() as network:
        results = await asyncio.gather(*(network.attach(pod) for pod in many))
        assert len({result.ips for result in results}) == len(many)
        await asyncio.gather(*(network.detach(pod) for pod in many))
    assert node.leftovers() == []


async def test_detach_leaves_nothing(node, pods):
    pod = pods.new(ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    async with node.open() as network:
        result = await network.attach(pod)
        assert filter_lines(result.ips[0])
        await network.detach(pod)
        await wait_only_bridge()
        assert filter_lines(result.ips[0], "8080") == []
        assert node.leftovers() == []


async def test_detach_twice_and_of_a_pod_that_was_never_attached_succeeds(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.detach(pod)
        await network.attach(pod)
        await network.detach(pod)
        await network.detach(pod)


async def test_detach_without_the_namespace_gives_the_address_back(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        pods.end(pod)
        await network.detach(replace(pod, netns=""))
        await wait_only_bridge()
    assert node.leftovers() == []


async def test_detach_after_the_namespace_became_an_empty_file_gives_the_address_back(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        pods.end(pod)
        with open(pod.netns, "w", encoding="utf-8"):
            await network.detach(pod)
    assert node.leftovers() == []


async def test_the_next_daemon_detaches_what_an_earlier_one_attached(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
    async with node.open() as network:
        await network.detach(pod)
        await wait_only_bridge()
    assert node.leftovers() == []


async def test_collect_detaches_all_but_the_pods_to_keep(node, pods):
    kept, lost = pods.new(1), pods.new(2)
    async with node.open() as network:
        first = await network.attach(kept)
        await network.attach(lost)
        pods.end(lost)
    async with node.open() as network:
        await network.collect(network.held() - {kept.id})
        assert await network.attach(kept) == first
        assert exchange(kept.netns, 80, "", first.ips[0])
        await wait_until(lambda: len(links()) == 2)
        await network.detach(kept)
    assert node.leftovers() == []


async def test_a_full_subnet_is_told_and_leaves_nothing(make_node, pods):
    node = make_node("10.77.0.0/30")
    first, second = pods.new(1), pods.new(2)
    async with node.open() as network:
        await network.attach(first)
        with pytest.raises(ResourceExhausted):
            await network.attach(second)
        assert await network.attach(first)
        await network.detach(first)
        assert (await network.attach(second)).ips == ("10.77.0.2",)
        await network.detach(second)
        await wait_only_bridge()
    assert node.leftovers() == []


async def test_a_host_port_leads_to_the_pod(node, pods):
    pod = pods.new(1, ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    neighbour = pods.new(2)
    async with node.open() as network:
        await network.attach(pod)
        await network.attach(neighbour)
        assert exchange(pod.netns, 80, neighbour.netns, "10.77.0.1", 8080)
        assert exchange(pod.netns, 80, "", "10.77.0.1", 8080)
        assert exchange(pod.netns, 80, "", "127.0.0.1", 8080)
        assert exchange(pod.netns, 80, pod.netns, "10.77.0.1", 8080)
        await network.detach(pod)
        with pytest.raises(OSError):
            exchange(pod.netns, 80, neighbour.netns, "10.77.0.1", 8080)
        await network.detach(neighbour)


async def test_an_attach_that_was_cut_off_is_done_again(node, pods):
    pod = pods.new()
    async with node.open() as network:
        attaching = asyncio.create_task(network.attach(pod))
        await wait_until(node.leftovers)
        attaching.cancel()
        await asyncio.wait([attaching])
        result = await network.attach(pod)
        assert exchange(pod.netns, 80, "", result.ips[0])
        await network.detach(pod)
        await wait_only_bridge()
    assert node.leftovers() == []


async def test_detach_waits_for_the_attach_of_the_same_pod(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await asyncio.gather(network.attach(pod), network.detach(pod))
        await wait_only_bridge()
    assert node.leftovers() == []


async def test_status_is_ready(node):
    async with node.open() as network:
        assert network.status().ready


async def test_a_pod_that_is_attached_checks_out_and_nothing_changes(node, pods):
    pod = pods.new()
    async with node.open() as network:
        result = await network.attach(pod)
        await network.check(pod.id)
        assert await network.attach(pod) == result
        await network.detach(pod)
        with pytest.raises(NotFound, match=pod.id):
            await network.check(pod.id)


async def test_check_tells_a_pod_that_has_lost_its_interface(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        inside(pod.netns, lambda: output("ip", "link", "del", "eth0"))
        with pytest.raises(Unavailable):
            await network.check(pod.id)
        await network.detach(pod)
    assert node.leftovers() == []


async def test_check_tells_a_pod_whose_namespace_is_gone(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        pods.end(pod)
        with pytest.raises(Unavailable, match=r"network namespace .*pod1\.net is not there any more"):
            await network.check(pod.id)
        await network.detach(pod)
    assert node.leftovers() == []


async def test_check_tells_a_pod_that_has_lost_its_way_out(node, pods):
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        inside(pod.netns, lambda: output("ip", "route", "del", "default"))
        with pytest.raises(Unavailable):
            await network.check(pod.id)
        await network.detach(pod)
