"""crispctl doctor against a real daemon: leftovers, lost pods, and what it must not touch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from core.network.netns import inside
from cri import api
from rig.cri_client import CriClient
from rig.crispctl import Crispctl
from rig.networks import output
from rig.node import wait_until
from rig.processes import halt_shim, resume_shim

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root

NOBODY = "5" * 64


@pytest.fixture
def ctl(node: Node) -> Crispctl:
    return Crispctl(node)


def leave(node: Node) -> None:
    for kind in ("sandboxes", "containers", "etc"):
        (node.base / "run" / kind / NOBODY).mkdir()


def test_leftovers_are_told_and_undone_and_pods_that_run_are_not(ctl: Crispctl, pods: Pods, node: Node) -> None:
    _, container = pods.start("sleep 1000")
    assert ctl("doctor") == "all is well\n"
    leave(node)
    told = ctl("doctor", code=1)
    for subject in (f"sandbox {NOBODY}", f"container {NOBODY}", f"files of sandbox {NOBODY}"):
        assert f"leftover: {subject}: " in told
    assert container not in told
    found = ctl.json("doctor", "--repair")["findings"]
    assert [(one["kind"], one["repaired"]) for one in found] == [("leftover", True)] * 3
    assert list((node.base / "run").glob(f"*/{NOBODY}")) == []
    assert ctl("doctor") == "all is well\n"
    assert ctl("exec", container, "echo", "runs") == "runs\n"


def test_what_is_being_made_meanwhile_is_nobodys_leftover(ctl: Crispctl, pods: Pods, client: CriClient) -> None:
    with ThreadPoolExecutor(4) as executor:
        starts = [executor.submit(pods.start, "sleep 1000") for _ in range(8)]
        while not all(start.done() for start in starts):
            client.ListPodSandbox(api.ListPodSandboxRequest())
            assert ctl.json("doctor", "--repair")["findings"] == []
        started = [start.result() for start in starts]
    for _, container in started:
        assert ctl("exec", container, "echo", "runs") == "runs\n"


def test_a_pod_that_has_lost_its_interface_is_told_and_is_left_alone(ctl: Crispctl, pods: Pods, node: Node) -> None:
    pod, container = pods.start("sleep 1000")
    netns = str(node.base / "run/sandboxes" / pod / "ns/net")
    inside(netns, lambda: output("ip", "link", "del", "eth0"))
    told = ctl("doctor", "--repair", code=1)
    assert f"disconnected: sandbox {pod}: " in told
    assert ctl("exec", container, "echo", "runs") == "runs\n"


def test_a_pod_whose_shim_is_stopped_is_told_with_what_is_slow(ctl: Crispctl, pods: Pods) -> None:
    pod, container = pods.start("sleep 1000")
    halt_shim(pod)
    try:
        with ctl.start("exec", "--timeout", "1", container, "true") as process:
            wait_until(lambda: "ExecSync goes on for" in ctl.run("doctor")[1], "the call is slow")
            assert "'shim ExecSync' for" in ctl("doctor", code=1)
            process.kill()
    finally:
        resume_shim(pod)
