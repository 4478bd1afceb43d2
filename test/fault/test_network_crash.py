"""A daemon that is killed while pods come and go: the next one finds all that it left, and removes it.

Run as a program, this file is that daemon.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.network.network import PodNetwork, PortMapping
from rig.networks import BRIDGE, PLUGINS, BridgeNode, CniNode, Pods, filter_lines, links, node_namespace, wait_until

pytestmark = pytest.mark.root

PORTS = (PortMapping(protocol="tcp", container_port=80, host_port=8080),)
HANGING = """#!/bin/sh
exec sleep 1000
"""


def make_node(kind, directory):
    """The same node for the test and for the daemon."""
    if kind == "builtin":
        return BridgeNode(directory)
    node = CniNode(directory, (str(directory / "bin"), PLUGINS))
    chain = [{"type": "hang"}] if kind == "hang" else [{"type": "portmap", "capabilities": {"portMappings": True}}]
    node.write("pods", node.bridge(), *chain)
    return node


async def come_and_go(kind, directory, netns):
    """Attach and detach a pod for ever."""
    pod = PodNetwork(id="sandbox1", name="web", namespace="default", uid="1", netns=netns, port_mappings=PORTS)
    async with make_node(kind, directory).open() as network:
        while True:
            print("attaching", flush=True)
            await network.attach(pod)
            await network.detach(pod)


@contextlib.contextmanager
def daemon(kind, directory, netns):
    """A daemon that is attaching; killed at the end of the block."""
    path = os.pathsep.join(sys.path)
    command = [sys.executable, __file__, kind, str(directory), netns]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            process.stdout.readline()
            yield
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def pod(tmp_path):
    with node_namespace():
        pods = Pods(tmp_path / "pods")
        yield pods.new(ports=PORTS)
        pods.end_all()


async def nothing_is_left(node):
    async with node.open() as network:
        await network.collect(network.held())
        await wait_until(lambda: not node.leftovers())
        await wait_until(lambda: links() <= {BRIDGE})
        assert filter_lines("8080", "10.77.0.2") == []


@pytest.mark.parametrize("kind,step", [("builtin", 0.003), ("cni", 0.03)])
async def test_the_next_daemon_collects_what_a_killed_one_left_at_any_moment(pod, tmp_path, kind, step):
    node = make_node(kind, tmp_path)
    for moment in range(8):
        with daemon(kind, tmp_path, pod.netns):
            time.sleep(moment * step)  # from the begin of an attach to the end of a detach
        await nothing_is_left(node)


@pytest.mark.parametrize("kind,step", [("builtin", 0.003), ("cni", 0.03)])
async def test_the_next_daemon_attaches_a_pod_whose_attach_was_cut_off(pod, tmp_path, kind, step):
    node = make_node(kind, tmp_path)
    for moment in range(4):
        with daemon(kind, tmp_path, pod.netns):
            time.sleep(moment * step)
        async with node.open() as network:
            assert await network.attach(pod)
            await network.detach(pod)
        await nothing_is_left(node)


async def test_a_plugin_that_outlives_its_daemon_is_ended_before_the_next_del(pod, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hang").write_text(HANGING)
    (tmp_path / "bin" / "hang").chmod(0o755)
    node = make_node("hang", tmp_path)
    with daemon("hang", tmp_path, pod.netns):
        await wait_until(lambda: running("sleep"))
    assert running("sleep")
    (tmp_path / "bin" / "hang").write_text("#!/bin/sh\n")
    await nothing_is_left(node)
    assert not running("sleep")


def running(name):
    """Whether a process `name` was started as a plugin for the test's pod."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/comm").read_text().strip()
            if command == name and b"CNI_CONTAINERID=sandbox1" in environment:
                return True
    return False


if __name__ == "__main__":
    asyncio.run(come_and_go(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
