"""What plugins are told, call by call: a plugin that writes down its environment and its configuration."""

import json
import sys
from dataclasses import replace

import pytest

from core.errdefs import NotFound, Unavailable
from core.network.capabilities import IPS, MAC
from core.network.network import PortMapping
from rig.networks import CniNode, Pods, node_namespace, wait_until

pytestmark = pytest.mark.root

RECORDER = f"""#!{sys.executable} -IS
import json, os, sys
config = json.load(sys.stdin)
directory, NAME = os.path.split(__file__)
name = config.get("type", NAME)
call = {{key: value for key, value in os.environ.items() if key.startswith("CNI_")}}
with open(directory + "/calls", "a") as calls:
    calls.write(json.dumps({{"plugin": name, "environment": call, "config": config}}) + "\\n")
if os.path.exists(f"{{directory}}/fail-{{call['CNI_COMMAND']}}"):
    print(json.dumps({{"code": 50, "msg": "no uplink"}}))
    sys.exit(1)
if call["CNI_COMMAND"] == "VERSION" and os.path.exists(f"{{directory}}/{{NAME}}-speaks"):
    versions = open(f"{{directory}}/{{NAME}}-speaks").read().split()
    print(json.dumps({{"cniVersion": config["cniVersion"], "supportedVersions": versions}}))
if call["CNI_COMMAND"] == "ADD":
    result = config.get("prevResult") or {{"cniVersion": config["cniVersion"], "interfaces": [], "ips": [
        {{"address": "10.9.0.9/24"}}, {{"address": "fd00::9/64"}}]}}
    result["interfaces"].append({{"name": name, "x-unknown": 1}})
    print(json.dumps(result))
"""


class Recorder(CniNode):
    def __init__(self, directory, **config):
        self.bin_dir = directory / "bin"
        self.bin_dir.mkdir()
        super().__init__(directory, (str(self.bin_dir),), **config)
        for name in ("first", "second"):
            (self.bin_dir / name).write_text(RECORDER)
            (self.bin_dir / name).chmod(0o755)

    def calls(self, command=""):
        lines = (self.bin_dir / "calls").read_text().splitlines() if (self.bin_dir / "calls").exists() else []
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if not command or call["environment"]["CNI_COMMAND"] == command]

    def chain(self, *plugins, **keys):
        self.write("pods", *(plugins or ({"type": "first"}, {"type": "second"})), **keys)

    def speaks(self, plugin, *versions):
        (self.bin_dir / f"{plugin}-speaks").write_text(" ".join(versions))

    def fail(self, command):
        (self.bin_dir / f"fail-{command}").touch()


@pytest.fixture
def node(tmp_path):
    with node_namespace():
        yield Recorder(tmp_path)


@pytest.fixture
def pods(node, tmp_path):
    pods = Pods(tmp_path / "pods")
    yield pods
    pods.end_all()


async def test_add_goes_forward_and_del_backward_with_the_result_of_the_chain(node, pods):
    node.chain()
    pod = pods.new()
    async with node.open() as network:
        result = await network.attach(pod)
        await network.detach(pod)
    order = [(call["environment"]["CNI_COMMAND"], call["plugin"]) for call in node.calls()]
    assert order == [("ADD", "first"), ("ADD", "second"), ("DEL", "second"), ("DEL", "first")]
    previous = [len(call["config"].get("prevResult", {}).get("interfaces", ())) for call in node.calls()]
    assert previous == [0, 1, 2, 2]
    assert result.ips == ("10.9.0.9", "fd00::9")
    assert json.loads(result.raw)["interfaces"][1] == {"name": "second", "x-unknown": 1}


async def test_a_call_carries_the_parameters_of_the_pod(node, pods, monkeypatch):
    monkeypatch.setenv("CNI_FOREIGN", "1")
    node.chain()
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(pod)
    assert node.calls()[0]["environment"] == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": pod.id,
        "CNI_NETNS": pod.netns,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1;"
        "K8S_POD_INFRA_CONTAINER_ID=sandbox1;K8S_POD_UID=uid-1",
        "CNI_PATH": str(node.bin_dir),
    }


async def test_del_has_no_namespace_when_it_is_gone(node, pods):
    node.chain()
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(replace(pod, netns=""))
    assert {call["environment"]["CNI_NETNS"] for call in node.calls("DEL")} == {""}


async def test_a_capability_is_told_only_to_a_plugin_that_declares_it(node, pods):
    node.chain({"type": "first"}, {"type": "second", "capabilities": {"portMappings": True, "bandwidth": True}})
    ports = (PortMapping(protocol="tcp", container_port=80, host_port=8080),)
    pod = pods.new(ports=ports, annotations={"kubernetes.io/ingress-bandwidth": "1M"})
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(replace(pod, port_mappings=(), annotations={}))
    first, second = (call["config"] for call in node.calls("ADD"))
    assert "runtimeConfig" not in first and "capabilities" not in second
    assert second["runtimeConfig"]["portMappings"][0]["hostPort"] == 8080
    assert second["runtimeConfig"]["bandwidth"]["ingressRate"] == 1_000_000
    assert node.calls("DEL")[0]["config"]["runtimeConfig"] == second["runtimeConfig"]


async def test_a_pod_is_attached_to_several_networks_when_the_node_wants_it(tmp_path, pods):
    (tmp_path / "several").mkdir()
    node = Recorder(tmp_path / "several", max_networks=2)
    node.write("a", {"type": "first"})
    node.write("b", {"type": "second"})
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(pod)
    calls = [(call["environment"], call["config"]["name"]) for call in node.calls()]
    order = [(environment["CNI_COMMAND"], name, environment["CNI_IFNAME"]) for environment, name in calls]
    assert order == [("ADD", "a", "eth0"), ("ADD", "b", "eth1"), ("DEL", "b", "eth1"), ("DEL", "a", "eth0")]
    assert node.leftovers() == []


async def test_addresses_are_for_the_first_network_and_ranges_for_all(tmp_path, pods):
    (tmp_path / "several").mkdir()
    node = Recorder(tmp_path / "several", max_networks=2)
    node.ranges.write_text("10.1.0.0/24")
    capabilities = {"capabilities": {"ips": True, "mac": True, "ipRanges": True}}
    node.write("a", {"type": "first", **capabilities})
    node.write("b", {"type": "second", **capabilities})
    pod = pods.new(annotations={IPS: "10.1.0.9", MAC: "0a:58:0a:01:00:09"})
    async with node.open() as network:
        await network.attach(pod)
        await network.detach(pod)
    ranges = {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}
    both = {**ranges, "ips": ["10.1.0.9"], "mac": "0a:58:0a:01:00:09"}
    told = [(call["config"]["name"], call["config"]["runtimeConfig"]) for call in node.calls()]
    assert told == [("a", both), ("b", ranges), ("b", ranges), ("a", both)]


async def test_the_next_daemon_detaches_with_the_result_and_the_parameters_of_the_add(node, pods):
    node.chain({"type": "first"}, {"type": "second", "capabilities": {"portMappings": True}}, version="1.1.0")
    ports = (PortMapping(protocol="tcp", container_port=80, host_port=8080),)
    pod = pods.new(ports=ports)
    async with node.open() as network:
        await network.attach(pod)
    node.chain({"type": "first"})
    async with node.open() as network:
        await network.detach(replace(pod, port_mappings=()))
    second, first = node.calls("DEL")
    assert [len(call["config"]["prevResult"]["interfaces"]) for call in (second, first)] == [2, 2]
    assert second["config"]["runtimeConfig"]["portMappings"][0]["hostPort"] == 8080
    assert {call["config"]["cniVersion"] for call in (second, first)} == {"1.1.0"}


async def test_where_there_is_a_choice_the_highest_version_that_all_plugins_speak_is_spoken(node, pods):
    node.chain(version="1.1.0", cniVersions=["0.4.0", "1.0.0"])
    node.speaks("first", "0.3.1", "0.4.0", "1.0.0")
    pod = pods.new()
    async with node.open() as network:
        await wait_until(lambda: len(node.calls("VERSION")) == 2)
        await network.attach(pod)
        await network.detach(pod)
    assert {call["config"]["cniVersion"] for call in (*node.calls("ADD"), *node.calls("DEL"))} == {"1.0.0"}
    assert node.calls("STATUS") == []


async def test_a_plugin_that_speaks_no_version_of_the_network_makes_it_not_ready_until_it_is_replaced(node):
    node.chain(version="1.1.0", cniVersions=["1.0.0"])
    node.speaks("second", "0.3.1", "0.4.0")
    async with node.open() as network:
        await wait_until(lambda: not network.status().ready)
        told = "CNI plugin second speaks 0.3.1, 0.4.0, not cniVersion 1.0.0 or 1.1.0 of network 'pods'"
        assert told in network.status().message
        node.speaks("second", "1.0.0")
        await wait_until(lambda: network.status().ready)


async def test_check_asks_each_plugin_with_the_result_of_add(node, pods):
    node.chain()
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.check(pod.id)
        assert [call["plugin"] for call in node.calls("CHECK")] == ["first", "second"]
        assert all(len(call["config"]["prevResult"]["interfaces"]) == 2 for call in node.calls("CHECK"))
        node.fail("CHECK")
        with pytest.raises(Unavailable, match="first CHECK: no uplink"):
            await network.check(pod.id)
        await network.detach(pod)


@pytest.mark.parametrize("keys", [{"disableCheck": True}, {"version": "0.3.1"}])
async def test_check_asks_nobody_where_it_must_not(node, pods, keys):
    node.chain(**keys)
    node.fail("CHECK")
    pod = pods.new()
    async with node.open() as network:
        await network.attach(pod)
        await network.check(pod.id)
        await network.detach(pod)
    assert node.calls("CHECK") == []


async def test_a_pod_that_is_not_attached_cannot_be_checked(node):
    node.chain()
    async with node.open() as network:
        with pytest.raises(NotFound):
            await network.check("sandbox1")


async def test_collect_tells_the_valid_attachments_to_plugins_that_know_gc(node, pods):
    node.chain(version="1.1.0")
    kept, lost = pods.new(1), pods.new(2)
    async with node.open() as network:
        await network.attach(kept)
        await network.attach(lost)
        await network.collect(network.held() - {kept.id})
        assert [call["environment"]["CNI_CONTAINERID"] for call in node.calls("DEL")] == [lost.id, lost.id]
        valid = [call["config"]["cni.dev/valid-attachments"] for call in node.calls("GC")]
        assert valid == [[{"containerID": kept.id, "ifname": "eth0"}]] * 2
        await network.detach(kept)


@pytest.mark.parametrize("keys", [{"version": "1.0.0"}, {"version": "1.1.0", "disableGC": True}])
async def test_collect_does_not_gc_where_it_must_not(node, keys):
    node.chain(**keys)
    async with node.open() as network:
        await network.collect(network.held())
    assert node.calls("GC") == []


async def test_a_gc_that_fails_does_not_keep_it_from_the_other_plugins(node):
    node.chain(version="1.1.0")
    node.fail("GC")
    async with node.open() as network:
        await network.collect(network.held())
    assert [call["plugin"] for call in node.calls("GC")] == ["first", "second"]


async def test_a_plugin_that_is_not_ready_makes_the_network_not_ready(node):
    node.chain(version="1.1.0")
    node.fail("STATUS")
    async with node.open() as network:
        await wait_until(lambda: not network.status().ready)
        status = network.status()
    assert status.reason == "NetworkPluginNotReady"
    assert "cni plugin not ready: CNI plugin first STATUS: no uplink" in status.message


async def test_status_follows_the_configuration_directory(node):
    async with node.open() as network:
        assert "cni plugin not initialized: no network config found in" in network.status().message
        node.chain()
        await wait_until(lambda: network.status().ready)
        (node.conf_dir / "00-broken.conflist").write_text("{")
        await wait_until(lambda: "00-broken.conflist" in network.status().message)
        (node.conf_dir / "00-broken.conflist").unlink()
        await wait_until(lambda: network.status().ready)
        node.conf_dir.rename(node.conf_dir.with_name("away"))
        await wait_until(lambda: not network.status().ready)
        node.conf_dir.with_name("away").rename(node.conf_dir)
        await wait_until(lambda: network.status().ready)


async def test_attach_without_a_configuration_says_so_and_leaves_nothing(node, pods):
    async with node.open() as network:
        with pytest.raises(Unavailable, match="default/web-1: cni plugin not initialized"):
            await network.attach(pods.new())
    assert node.leftovers() == []
