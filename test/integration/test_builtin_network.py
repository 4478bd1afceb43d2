"""What only the embedded network does."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from core.errdefs import Unavailable
from core.network.builtin.leases import Lease, LeaseFiles
from core.network.choice import ChosenNetwork
from core.network.netns import inside, interface_stats, socket_in
from core.network.network import PortMapping
from rig.networks import (
    BRIDGE,
    BridgeNode,
    CniNode,
    Pods,
    exchange,
    filter_lines,
    links,
    move_into,
    node_namespace,
    output,
    wait_until,
)

pytestmark = pytest.mark.root


@pytest.fixture
def node(tmp_path):
    with node_namespace():
        yield BridgeNode(tmp_path)


@pytest.fixture
def pods(node, tmp_path):
    pods = Pods(tmp_path / "pods")
    yield pods
    pods.end_all()


@pytest.fixture
def outside(node, tmp_path):
    """A machine behind the node's other interface: 192.0.2.2, which knows no route to pods."""
    machines = Pods(tmp_path / "machines")
    netns = machines.new().netns
    output("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth9")
    move_into(netns, "eth9")
    output("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink")
    output("ip", "link", "set", "uplink", "up")
    inside(netns, lambda: output("ip", "addr", "add", "192.0.2.2/24", "dev", "eth9"))
    inside(netns, lambda: output("ip", "link", "set", "eth9", "up"))
    yield netns
    machines.end_all()


async def test_nothing_is_made_before_the_first_pod_and_nothing_stays_after_the_last(node, pods):
    pod = pods.new()
    async with node.open() as network:
        assert links() == set()
        await network.attach(pod)
        await network.detach(pod)
    await wait_until(lambda: links() == set())
    assert output("nft", "list", "ruleset") == ""


async def test_the_bridge_stays_while_a_pod_has_a_lease(node, pods):
    pod = pods.new()
    async with node.open() as network:
        result = await network.attach(pod)
    assert exchange(pod.netns, 80, "", result.ips[0])
    async with node.open() as network:
        await network.detach(pod)


async def test_pods_leave_the_node_under_its_address_and_meet_under_their_own(node, pods, outside):
    one, two = pods.new(1), pods.new(2)
    async with node.open() as network:
        first, second = await network.attach(one), await network.attach(two)
        assert exchange(outside, 80, one.netns, "192.0.2.2") == "192.0.2.1"
        assert exchange(two.netns, 80, one.netns, second.ips[0]) == first.ips[0]
        await network.detach(one)
        await network.detach(two)


async def test_a_host_port_is_reached_from_outside_under_the_clients_address(node, pods, outside):
    pod = pods.new(ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    async with node.open() as network:
        await network.attach(pod)
        assert exchange(pod.netns, 80, outside, "192.0.2.1", 8080) == "192.0.2.2"
        await network.detach(pod)


async def test_host_ports_are_of_their_protocol_and_go_with_the_pod(node, pods):
    udp = PortMapping(protocol="udp", container_port=53, host_port=5353)
    sctp = PortMapping(protocol="sctp", container_port=90, host_port=9090)
    pod = pods.new(ports=(udp, sctp))
    async with node.open() as network:
        await network.attach(pod)
        opened = " ".join(filter_lines("5353", "9090"))
        assert "udp . 5353 : 10.77.0.2 . 53" in opened
        assert "sctp . 9090 : 10.77.0.2 . 90" in opened
        await network.detach(pod)
        assert filter_lines("5353", "9090") == []


async def test_a_host_port_of_one_address_is_not_open_on_others(node, pods, outside):
    mapping = PortMapping(protocol="tcp", container_port=80, host_port=8080, host_ip="192.0.2.1")
    pod = pods.new(ports=(mapping,))
    async with node.open() as network:
        await network.attach(pod)
        assert exchange(pod.netns, 80, outside, "192.0.2.1", 8080)
        with pytest.raises(OSError):
            exchange(pod.netns, 80, "", "127.0.0.1", 8080)
        await network.detach(pod)


async def test_a_host_port_takes_nothing_that_goes_elsewhere(node, pods, outside):
    """CVE-2025-67499, CVE-2019-9946."""
    pod = pods.new(1, ports=(PortMapping(protocol="tcp", container_port=9, host_port=80),))
    other = pods.new(2)
    async with node.open() as network:
        await network.attach(pod)
        second = await network.attach(other)
        assert exchange(other.netns, 80, "", second.ips[0])
        assert exchange(outside, 80, other.netns, "192.0.2.2")
        await network.detach(pod)
        await network.detach(other)


async def test_no_pod_becomes_a_router_by_saying_so(node, pods):
    """CVE-2020-10749."""
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        assert Path(f"/proc/sys/net/ipv6/conf/{BRIDGE}/accept_ra").read_text() == "0\n"
        assert inside(pod.netns, lambda: Path("/proc/sys/net/ipv6/conf/eth0/accept_ra").read_text()) == "0\n"
        await network.detach(pod)


async def test_services_on_the_nodes_loopback_are_not_for_pods(node, pods):
    """CVE-2020-8558: route_localnet is on, and the pod may send to 127.0.0.1 by the bridge."""
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        inside(pod.netns, lambda: output("ip", "addr", "del", "127.0.0.1/8", "dev", "lo"))
        inside(pod.netns, lambda: output("ip", "route", "add", "127.0.0.1/32", "via", "10.77.0.1", "src", "10.77.0.2"))
        inside(pod.netns, lambda: Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1"))
        with socket_in(pod.netns, socket.AF_INET, socket.SOCK_STREAM) as end, socket.create_server(("127.0.0.1", 80)):
            end.settimeout(0.3)
            with pytest.raises(TimeoutError):
                end.connect(("127.0.0.1", 80))
        await network.detach(pod)


async def test_a_host_port_that_another_pod_has_is_refused_until_it_is_free(node, pods):
    ports = (PortMapping(protocol="tcp", container_port=80, host_port=8080),)
    one, two = pods.new(1, ports=ports), pods.new(2, ports=ports)
    async with node.open() as network:
        await network.attach(one)
        with pytest.raises(Unavailable, match="host port 8080/tcp is pod sandbox1's"):
            await network.attach(two)
        assert exchange(one.netns, 80, "", "10.77.0.1", 8080)
        await network.detach(two)
        await network.detach(one)
        await network.attach(two)
        assert exchange(two.netns, 80, "", "10.77.0.1", 8080)
        await network.detach(two)


async def test_a_pod_has_an_address_of_each_ip_version(tmp_path, node, pods):
    node = BridgeNode(tmp_path, ("10.77.0.0/24", "fd00:77::/64"))
    pod = pods.new(ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    async with node.open() as network:
        result = await network.attach(pod)
        assert result.ips == ("10.77.0.2", "fd00:77::2")
        assert exchange(pod.netns, 80, "", "fd00:77::2")
        assert exchange(pod.netns, 80, "", "fd00:77::1", 8080)
        assert exchange(pod.netns, 80, "", "10.77.0.1", 8080)
        await network.detach(pod)
    assert node.leftovers() == []


async def test_what_a_crash_left_half_made_is_made_again(node, pods):
    """A record, and a veth of which nobody knows how far it came."""
    pod = pods.new()
    LeaseFiles(str(node.root)).put(Lease(pod_id=pod.id, netns=pod.netns, addresses=("10.77.0.2/24",)))
    output("ip", "link", "add", Lease(pod_id=pod.id, netns="", addresses=()).link, "type", "veth", "peer", "name", "x")
    async with node.open() as network:
        result = await network.attach(pod)
        assert exchange(pod.netns, 80, "", result.ips[0])
        await network.detach(pod)
    await wait_until(lambda: links() == set())
    assert node.leftovers() == []


async def test_a_bridge_that_was_removed_comes_back_with_the_next_pod(node, pods):
    one, two = pods.new(1), pods.new(2)
    async with node.open() as network:
        await network.attach(one)
        output("ip", "link", "del", BRIDGE)
        result = await network.attach(two)
        assert exchange(two.netns, 80, "", result.ips[0])
        await network.detach(one)
        await network.detach(two)


async def test_a_packet_filter_that_was_flushed_comes_back_with_the_next_pod(node, pods):
    one = pods.new(1, ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    two = pods.new(2, ports=(PortMapping(protocol="tcp", container_port=80, host_port=8081),))
    async with node.open() as network:
        await network.attach(one)
        output("nft", "flush", "ruleset")
        await network.attach(two)
        for pod, port in ((one, 8080), (two, 8081)):
            assert exchange(pod.netns, 80, "", "10.77.0.1", port)
            await network.detach(pod)


async def test_collect_brings_back_what_somebody_removed_for_the_pods_that_run(node, pods):
    pod = pods.new(ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    async with node.open() as network:
        result = await network.attach(pod)
        for removal, told in (
            (("ip", "link", "del", BRIDGE), f"interface {BRIDGE}: No such device"),
            (("nft", "flush", "ruleset"), f"packet filter {BRIDGE} was removed"),
        ):
            output(*removal)
            with pytest.raises(Unavailable, match=told):
                await network.check(pod.id)
            await network.collect(())
            await network.check(pod.id)
            assert exchange(pod.netns, 80, "", result.ips[0])
            assert exchange(pod.netns, 80, "", "10.77.0.1", 8080)
        await network.detach(pod)


async def test_the_next_daemon_makes_the_packet_filter_again_without_a_new_pod(node, pods):
    pod = pods.new(ports=(PortMapping(protocol="tcp", container_port=80, host_port=8080),))
    async with node.open() as network:
        await network.attach(pod)
    output("nft", "flush", "ruleset")
    async with node.open() as network:
        await network.collect(())  # as the daemon does at its start
        assert exchange(pod.netns, 80, "", "10.77.0.1", 8080)
        await network.detach(pod)


async def test_an_attach_to_a_namespace_that_is_none_leaves_nothing(node, pods, tmp_path):
    pod = replace(pods.new(), netns=str(tmp_path / "missing"))
    async with node.open() as network:
        with pytest.raises(Unavailable):
            await network.attach(pod)
        assert node.leftovers() == []
        assert links() == {BRIDGE}


async def test_counters_of_a_pods_interface_are_read_from_its_namespace(node, pods):
    pod = pods.new()
    async with node.open() as network:
        result = await network.attach(pod)
        exchange(pod.netns, 80, "", result.ips[0])
        stats = interface_stats([pod.netns])[pod.netns]
        await network.detach(pod)
    assert set(stats) == {"lo", "eth0"}
    assert stats["eth0"].rx_bytes > 0 and stats["eth0"].tx_bytes > 0


async def test_the_embedded_network_steps_in_while_cni_has_no_configuration(node, pods, tmp_path):
    plugins = CniNode(tmp_path)
    one, two = pods.new(1), pods.new(2)
    async with node.open() as embedded, plugins.open() as cni:
        network = ChosenNetwork(cni, embedded)
        assert network.status().ready
        await network.attach(one)
        assert len(node.leftovers()) == 1
        plugins.write("pods", {**plugins.bridge("10.78.0.0/24"), "bridge": "tbr1"})
        await wait_until(lambda: cni.status().ready)
        assert (await network.attach(one)).ips == ("10.77.0.2",)
        assert (await network.attach(two)).ips == ("10.78.0.2",)
        await asyncio.gather(network.detach(one), network.detach(two))
        assert node.leftovers() == plugins.leftovers() == []
