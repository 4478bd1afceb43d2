"""NRI plugins, as the runtime and containers see them. Hostile ones are in test_nri_hostile.py."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.api import nri_pb2, nri_types_pb2
from core.linux.cgroup import CgroupLayout
from cri import api
from rig.cri_calls import run, wait_exited
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.nri_plugin import NriPlugin, Refused

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
V1 = "memory" in CgroupLayout.read().controllers
MEMORY_LIMIT, PIDS_LIMIT = (
    f"/sys/fs/cgroup/{file}"
    for file in (("memory/memory.limit_in_bytes", "pids/pids.max") if V1 else ("memory.max", "pids.max"))
)


@pytest.fixture
def nri() -> bool:
    return True


def plugin(node: Node, handlers: dict[str, Any] | None = None, index: str = "00", **options: Any) -> NriPlugin:
    return NriPlugin.connect(str(node.base / "nri/nri.sock"), handlers, **options).register(index)


def created(**adjustment: Any) -> Any:
    """A handler that adjusts every new container so."""
    adjust = nri_types_pb2.ContainerAdjustment(**adjustment)
    return {"CreateContainer": lambda _request: nri_pb2.CreateContainerResponse(adjust=adjust)}


def remove(client: CriClient, pod: str, container: str) -> None:
    client.StopContainer(api.StopContainerRequest(container_id=container))
    client.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))


def limit(container: str, memory: int) -> api.UpdateContainerResourcesRequest:
    resources = api.LinuxContainerResources(memory_limit_in_bytes=memory)
    return api.UpdateContainerResourcesRequest(container_id=container, linux=resources)


def test_a_plugin_is_told_of_a_life_in_its_order(node: Node, client: CriClient, pods: Pods) -> None:
    with plugin(node) as seen:
        pod, container = pods.start("sleep 100")
        client.UpdatePodSandboxResources(api.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod))
        client.UpdateContainerResources(limit(container, 64 << 20))
        remove(client, pod, container)
        assert [name for name, _ in seen.calls] == [
            "Configure",
            "Synchronize",
            "RunPodSandbox",
            "CreateContainer",
            "PostCreateContainer",
            "StartContainer",
            "PostStartContainer",
            "UpdatePodSandbox",
            "PostUpdatePodSandbox",
            "UpdateContainer",
            "PostUpdateContainer",
            "StopContainer",
            "RemoveContainer",
            "StopPodSandbox",
            "RemovePodSandbox",
        ]
        told = seen.of("CreateContainer")[0]
        assert (told.pod.id, told.pod.namespace, told.container.id) == (pod, "test", container)
        assert told.container.name == "main"
        assert list(told.container.args) == ["/bin/sh", "-c", "sleep 100"]
        assert seen.of("StartContainer")[0].container.pid > 0
        assert seen.of("StopContainer")[0].container.exit_code == 137


def test_the_time_that_a_plugin_takes_is_told_as_the_plugins(node: Node, client: CriClient, pods: Pods) -> None:
    with plugin(node):
        pod, _ = pods.start("sleep 100")
        info = client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod, verbose=True)).info
        names = [step["name"] for call in json.loads(info["calls"]) for step in call["steps"]]
        assert "NRI plugin 00-test CreateContainer" in names
        assert "shim CreateContainer" not in names


def test_events_that_were_not_asked_for_do_not_come(node: Node, client: CriClient, pods: Pods) -> None:
    with plugin(node, events=1 << (nri_pb2.STOP_CONTAINER - 1)) as seen:
        pod, container = pods.start("exit 3")
        told = seen.wait("StopContainer")
        remove(client, pod, container)
        assert (told.container.exit_code, told.container.state) == (3, nri_types_pb2.CONTAINER_STOPPED)
        assert [name for name, _ in seen.calls] == ["Configure", "Synchronize", "StopContainer"]


def test_an_older_plugin_gets_state_changes(node: Node, client: CriClient, pods: Pods) -> None:
    with plugin(node, lacking=("RunPodSandbox", "StartContainer", "RemovePodSandbox")) as seen:
        remove(client, *pods.start("sleep 100"))
        events = [change.event for change in seen.of("StateChange")]
        assert events == [nri_pb2.RUN_POD_SANDBOX, nri_pb2.START_CONTAINER, nri_pb2.REMOVE_POD_SANDBOX]


def test_a_container_is_as_a_plugin_wants_it(node: Node, client: CriClient, pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("here")
    wanted = created(
        annotations={"example.org/a": "b"},
        env=[nri_types_pb2.KeyValue(key="ADDED", value="1")],
        mounts=[nri_types_pb2.Mount(destination="/extra", source=str(tmp_path), options=["rbind", "ro"])],
        rlimits=[nri_types_pb2.POSIXRlimit(type="RLIMIT_NOFILE", soft=77, hard=88)],
        linux=nri_types_pb2.LinuxContainerAdjustment(
            devices=[nri_types_pb2.LinuxDevice(path="/dev/extra", type="c", major=1, minor=3)],
            oom_score_adj=nri_types_pb2.OptionalInt(value=900),
            resources=nri_types_pb2.LinuxResources(
                memory=nri_types_pb2.LinuxMemory(limit=nri_types_pb2.OptionalInt64(value=96 << 20)),
                pids=nri_types_pb2.LinuxPids(limit=55),
            ),
            sysctl={"net.ipv4.ip_forward": "0"},
        ),
    )
    with plugin(node, wanted):
        _, container = pods.start("sleep 100")
    script = (
        "echo $ADDED; cat /extra/there; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; echo x > /dev/extra && "
        f"cat {MEMORY_LIMIT} {PIDS_LIMIT}"
    )
    assert run(client, container, script).split() == ["1", "here77", "88", "900", str(96 << 20), "55"]
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True))
    assert status.status.resources.linux.memory_limit_in_bytes == 96 << 20
    spec = json.loads(status.info["info"])["runtimeSpec"]
    assert spec["annotations"]["example.org/a"] == "b"


def test_the_command_can_be_another(node: Node, client: CriClient, pods: Pods) -> None:
    with plugin(node, created(args=["/bin/sh", "-c", "exit 9"])) as seen:
        _, container = pods.start("sleep 100")
        assert seen.wait("StopContainer").container.exit_code == 9
    assert client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status.exit_code == 9


def test_two_plugins_are_heard_in_the_order_of_their_indexes(node: Node, client: CriClient, pods: Pods) -> None:
    env = nri_types_pb2.KeyValue
    with (
        plugin(node, created(env=[env(key="LATE", value="1")]), index="20") as late,
        plugin(node, created(env=[env(key="EARLY", value="1")]), index="10"),
    ):
        _, container = pods.start("sleep 100")
        assert "EARLY=1" in late.of("CreateContainer")[0].container.env
    assert run(client, container, "echo $EARLY$LATE") == "11\n"


def test_two_plugins_that_contradict_each_other_fail_the_container(
    node: Node, client: CriClient, pods: Pods
) -> None:
    def wants(value: str) -> Any:
        return created(env=[nri_types_pb2.KeyValue(key="MODE", value=value)])

    with plugin(node, wants("a"), index="10") as first, plugin(node, wants("b"), index="20"):
        with pytest.raises(grpc.RpcError) as failure:
            pods.start("sleep 100")
        assert "10-test and 20-test both set Env MODE" in failure.value.details()
        assert first.wait("RemoveContainer").container.id == first.of("CreateContainer")[0].container.id
    assert not client.ListContainers(api.ListContainersRequest()).containers


@pytest.mark.parametrize("method", ["RunPodSandbox", "CreateContainer", "StartContainer"])
def test_a_plugin_can_refuse(node: Node, client: CriClient, pods: Pods, method: str) -> None:
    def refuse(_request: Any) -> None:
        raise Refused("not on this node")

    with plugin(node, {method: refuse}) as seen:
        with pytest.raises(grpc.RpcError) as failure:
            pods.start("sleep 100")
        assert "NRI plugin 00-test: not on this node" in failure.value.details()
        if method == "RunPodSandbox":
            assert seen.wait("RemovePodSandbox").pod.id == seen.of("RunPodSandbox")[0].pod.id
            assert not client.ListPodSandbox(api.ListPodSandboxRequest()).items


def test_a_judge_can_refuse_what_another_wants(node: Node, client: CriClient, pods: Pods) -> None:
    def judge(request: Any) -> nri_pb2.ValidateContainerAdjustmentResponse:
        owner = request.owners.owners[request.container.id].compound[nri_types_pb2.Env].owners["EVIL"]
        return nri_pb2.ValidateContainerAdjustmentResponse(reject=True, reason=f"{owner} sets EVIL")

    events = 1 << (nri_pb2.VALIDATE_CONTAINER_ADJUSTMENT - 1)
    evil = created(env=[nri_types_pb2.KeyValue(key="EVIL", value="1")])
    with (
        plugin(node, evil, index="10"),
        plugin(node, {"ValidateContainerAdjustment": judge}, index="90", events=events),
        pytest.raises(grpc.RpcError) as failure,
    ):
        pods.start("sleep 100")
    assert "10-test sets EVIL" in failure.value.details()
    assert not client.ListContainers(api.ListContainersRequest()).containers


def test_a_plugin_changes_other_containers_when_asked_and_unasked(node: Node, client: CriClient, pods: Pods) -> None:
    _, first = pods.start("sleep 100")

    def shrink(memory: int) -> nri_types_pb2.ContainerUpdate:
        update = nri_types_pb2.ContainerUpdate(container_id=first)
        update.linux.resources.memory.limit.value = memory
        return update

    def of_first() -> int:
        status = client.ContainerStatus(api.ContainerStatusRequest(container_id=first)).status
        return int(status.resources.linux.memory_limit_in_bytes)

    answer = {"CreateContainer": lambda _request: nri_pb2.CreateContainerResponse(update=[shrink(80 << 20)])}
    with plugin(node, answer) as changing:
        pods.start("sleep 100")
        assert of_first() == 80 << 20
        request = nri_pb2.UpdateContainersRequest(update=[shrink(70 << 20), shrink(5)])
        reply = changing.call("UpdateContainers", request, nri_pb2.UpdateContainersResponse)
        assert of_first() == 70 << 20
        assert [one.linux.resources.memory.limit.value for one in reply.failed] == [5]


def test_a_plugin_changes_what_the_kubelet_updates(node: Node, client: CriClient, pods: Pods) -> None:
    def double(request: Any) -> nri_pb2.UpdateContainerResponse:
        update = nri_types_pb2.ContainerUpdate(container_id=request.container.id)
        update.linux.resources.memory.limit.value = 2 * request.linux_resources.memory.limit.value
        return nri_pb2.UpdateContainerResponse(update=[update])

    with plugin(node, {"UpdateContainer": double}):
        _, container = pods.start("sleep 100")
        client.UpdateContainerResources(limit(container, 64 << 20))
    assert int(run(client, container, f"cat {MEMORY_LIMIT}")) == 128 << 20


def test_a_plugin_evicts(node: Node, client: CriClient, pods: Pods) -> None:
    _, container = pods.start("sleep 100")
    with plugin(node) as evicting:
        request = nri_pb2.UpdateContainersRequest(
            evict=[nri_types_pb2.ContainerEviction(container_id=container, reason="make room")]
        )
        evicting.call("UpdateContainers", request, nri_pb2.UpdateContainersResponse)
        assert evicting.wait("StopContainer").container.id == container
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status
    assert status.state == api.CONTAINER_EXITED


def test_no_container_is_lost_between_the_state_and_the_events(node: Node, client: CriClient, pods: Pods) -> None:
    """A plugin that takes its time with the state still hears of what is made meanwhile."""
    go_on, inside = threading.Event(), threading.Event()

    def slow(_request: Any) -> None:
        inside.set()
        go_on.wait()

    pod, first = pods.start("sleep 100")
    late = NriPlugin.connect(str(node.base / "nri/nri.sock"), {"Synchronize": slow})
    with late:
        threading.Thread(target=late.register, daemon=True).start()
        assert inside.wait(20)
        made: list[str] = []
        sandbox = node.pod()
        other = threading.Thread(target=lambda: made.append(pods.run(sandbox)))
        other.start()
        go_on.set()
        other.join()
        state = late.of("Synchronize")[0]
        assert [one.id for one in state.pods] == [pod]
        assert [one.id for one in state.containers] == [first]
        assert late.of("RunPodSandbox")[0].pod.id == made[0]


def test_a_plugin_of_a_new_daemon_learns_of_what_an_earlier_one_left(node: Node, client: CriClient, pods: Pods) -> None:
    pod, running = pods.start("sleep 1000")
    _, ended = pods.start("exit 0")
    wait_exited(client, ended)
    node.end(signal.SIGKILL)
    with node.start() as again, plugin(node) as seen:
        state = seen.of("Synchronize")[0]
        assert pod in [one.id for one in state.pods]
        assert [(one.id, one.state) for one in state.containers] == [(running, nri_types_pb2.CONTAINER_RUNNING)]
        again.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))
        assert [name for name, _ in seen.calls[2:]] == [
            "StopContainer",
            "StopPodSandbox",
            "RemoveContainer",
            "RemovePodSandbox",
        ]


def test_installed_plugins_are_started_configured_and_ended(node: Node, client: CriClient, pods: Pods) -> None:
    node.end(signal.SIGTERM)
    (node.base / "plugins").mkdir()
    (node.base / "plugin-config").mkdir()
    (node.base / "plugin-config/10-ours.conf").write_text("FROM_PLUGIN")
    root = Path(__file__).parents[2]
    script = node.base / "plugins/10-ours"
    script.write_text(PROGRAM.format(python=sys.executable, paths=[str(root), str(root / "test")], base=node.base))
    script.chmod(0o755)
    (node.base / "plugins/README").write_text("not a plugin")
    node.start().close()
    _, container = pods.start("sleep 100")
    assert run(client, container, "echo $FROM_PLUGIN") == "10-ours\n"
    pid = int((node.base / "plugin.pid").read_text())
    node.end(signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the plugin ends with crispd")


PROGRAM = """#!{python}
import os, sys, threading
sys.path[:0] = {paths!r}
from core.api import nri_pb2 as api, nri_types_pb2 as types
from rig.nri_plugin import NriPlugin, inherited

configured = []

def configure(request):
    configured.append(request.config)
    return api.ConfigureResponse(events=0)

def create(request):
    name = os.environ["NRI_PLUGIN_IDX"] + "-" + os.environ["NRI_PLUGIN_NAME"]
    env = [types.KeyValue(key=configured[0], value=name)]
    return api.CreateContainerResponse(adjust=types.ContainerAdjustment(env=env))

open("{base}/plugin.pid", "w").write(str(os.getpid()))
plugin = NriPlugin(inherited(), {{"Configure": configure, "CreateContainer": create}})
plugin.call("RegisterPlugin", api.RegisterPluginRequest(), api.Empty)
threading.Event().wait()
"""
