"""A daemon that starts on what is broken: it serves at once, and nobody suffers for what another has lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cri import api
from rig.cgroups import inside
from rig.cri_client import CriClient
from rig.node import wait_until
from rig.patience import patient
from rig.processes import halt_shim, is_running, resume_shim, shim_of, zygote_of

if TYPE_CHECKING:
    from critest.conftest import Pods

    from rig.node import Node

pytestmark = pytest.mark.root
RUNNING, EXITED = api.CONTAINER_RUNNING, api.CONTAINER_EXITED
READY, NOTREADY = api.SANDBOX_READY, api.SANDBOX_NOTREADY


def status(client: CriClient, container: str) -> Any:
    return client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status


def pid_of(client: CriClient, container: str) -> int:
    info = client.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True)).info
    return int(json.loads(info["info"])["pid"])


def pod_state(client: CriClient, pod: str) -> int:
    return int(client.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.state)


def alive(client: CriClient, container: str) -> bool:
    request = api.ExecSyncRequest(container_id=container, cmd=["/bin/echo", "alive"], timeout=int(patient(10)))
    return bool(client.ExecSync(request).stdout == b"alive\n")


def end(client: CriClient, pod: str) -> None:
    client.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=pod))
    client.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=pod))


def damage(node: Node, ids: set[str]) -> None:
    """Make the records of these objects senseless."""
    with sqlite3.connect(node.base / "root/metadata.db") as database:
        for id_ in ids:
            assert database.execute("UPDATE record SET body = x'00' WHERE id = ?", (id_,)).rowcount == 1
    database.close()


def test_a_shim_that_hangs_delays_neither_the_start_nor_other_pods_and_can_be_ended(
    client: CriClient, node: Node, pods: Pods
) -> None:
    (hung, in_hung), (slow, in_slow), (_, other) = (pods.start("sleep 1000") for _ in range(3))
    for pod in (hung, slow):
        halt_shim(pod)
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert (pod_state(again, hung), status(again, in_hung).state) == (READY, RUNNING)
        assert alive(again, other)
        end(again, pods.run(node.pod()))
        log = (node.base / "crispd.log").read_text().rpartition(" serving ")[2]
        assert "does not answer" not in log.partition(" sandbox started ")[0]  # not even that was waited for
        resume_shim(slow)
        assert alive(again, in_slow)
        pid = pid_of(again, in_hung)
        with pytest.raises(grpc.RpcError, match="its shim does"):
            again.StopContainer(api.StopContainerRequest(container_id=in_hung, timeout=1))
        again.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=hung))
        assert (status(again, in_hung).state, status(again, in_hung).exit_code) == (EXITED, 137)
        assert not is_running(pid)
        assert alive(again, in_slow)
        assert alive(again, other)


def test_a_container_whose_start_was_cut_off_is_started_while_its_pod_is_still_being_recovered(
    client: CriClient, node: Node, pods: Pods
) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    container = pods.create(pod, sandbox, node.container("sleep 1000"))
    node.end(signal.SIGTERM)
    start = api.StartContainerRequest(container_id=container)
    with node.start("container.start.created=kill") as again, pytest.raises(grpc.RpcError):
        again.StartContainer(start)
    assert node.process
    node.process.wait()
    halt_shim(pod)
    with node.start() as again, ThreadPoolExecutor(1) as threads:
        starting = threads.submit(again.StartContainer, start)
        wait_until(lambda: "does not answer" in (node.base / "crispd.log").read_text(), "its recovery is tried")
        resume_shim(pod)
        starting.result()
        assert alive(again, container)
        again.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
        assert (status(again, container).state, status(again, container).exit_code) == (EXITED, 137)


def test_a_container_whose_start_was_cut_off_is_stopped_at_once_when_it_turns_out_not_to_run(
    client: CriClient, node: Node, pods: Pods
) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    container = pods.create(pod, sandbox, node.container("trap '' TERM; sleep 1000"))
    node.end(signal.SIGTERM)
    with node.start("container.start.recorded=kill") as again, pytest.raises(grpc.RpcError):
        again.StartContainer(api.StartContainerRequest(container_id=container))
    assert node.process
    node.process.wait()
    halt_shim(pod)
    with node.start() as again, ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(again.StopContainer, api.StopContainerRequest(container_id=container, timeout=5))
        wait_until(lambda: "does not answer" in (node.base / "crispd.log").read_text(), "its recovery is tried")
        resume_shim(pod)
        stopping.result()
        assert status(again, container).state != RUNNING


def test_a_record_that_makes_no_sense_costs_no_container_its_life(client: CriClient, node: Node, pods: Pods) -> None:
    (pod, container), (_, other) = (pods.start("sleep 1000") for _ in range(2))
    pid = pid_of(client, container)
    node.end(signal.SIGKILL)
    damage(node, {pod, container})
    with node.start() as again:
        assert (pod_state(again, pod), status(again, container).state) == (READY, RUNNING)
        assert pid_of(again, container) == pid
        assert alive(again, container)
        assert alive(again, other)


def test_a_pod_of_which_nothing_makes_sense_is_ended_and_its_neighbours_are_not(
    client: CriClient, node: Node, pods: Pods
) -> None:
    (pod, container), (_, other) = (pods.start("sleep 1000") for _ in range(2))
    pid = pid_of(client, container)
    node.end(signal.SIGKILL)
    damage(node, {pod, container})
    shutil.rmtree(node.base / "run/records")
    with node.start() as again:
        assert [one.id for one in again.ListContainers(api.ListContainersRequest()).containers] == [other]
        assert alive(again, other)
        wait_until(lambda: not is_running(pid), "the pod is ended")
        wait_until(lambda: not (node.base / "run/sandboxes" / pod).exists(), "the pod is swept")


BROKEN: dict[str, Callable[[Path], object]] = {
    "half": lambda path: os.truncate(path, max(4096, path.stat().st_size // 2 // 4096 * 4096)),
    "noise": lambda path: path.write_bytes(os.urandom(20_000)),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_database_costs_no_container_its_life(
    client: CriClient, node: Node, pods: Pods, how: str
) -> None:
    pod, container = pods.start("sleep 1000")
    pid = pid_of(client, container)
    node.end(signal.SIGTERM)
    BROKEN[how](node.base / "root/metadata.db")
    with node.start() as again:
        assert (pod_state(again, pod), pid_of(again, container)) == (READY, pid)
        assert alive(again, container)
    node.end(signal.SIGKILL)
    with node.start() as again:
        assert alive(again, container)
        again.PullImage(api.PullImageRequest(image=api.ImageSpec(image=node.image)))
        pods.start("true")


def test_after_a_reboot_all_have_ended_and_their_addresses_are_free(client: CriClient, node: Node, pods: Pods) -> None:
    both = [pods.start("sleep 1000") for _ in range(2)]
    pids = [pid_of(client, container) for _, container in both] + [shim_of(pod) for pod, _ in both]
    node.end(signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), "as after a reboot")
    for group in inside(f"/{node.cgroup}"):
        group.rmdir()
    empty(node)
    (node.base / "root/boot_id").write_text("another")
    with node.start() as again:
        for pod, container in both:
            found = status(again, container)
            assert (found.state, found.exit_code, found.reason) == (EXITED, 255, "Unknown")
            assert found.started_at <= found.finished_at
            assert pod_state(again, pod) == NOTREADY
        wait_until(lambda: not list((node.base / "root/leases").glob("*.json")), "addresses are free")
        for pod, _ in both:
            end(again, pod)


def empty(node: Node) -> None:
    """The state directory is gone, with all that is mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{node.base}/run/")]):
        subprocess.run(["umount", "-l", mount], check=True)
    shutil.rmtree(node.base / "run")


def test_containers_that_run_without_their_state_directory_are_ended_before_others_take_their_place(
    client: CriClient, node: Node, pods: Pods
) -> None:
    pod, container = pods.start("sleep 1000")
    bereft, orphan = pods.start("sleep 1000")
    pids = [pid_of(client, container), pid_of(client, orphan), shim_of(pod)]
    node.end(signal.SIGKILL)
    os.kill(shim_of(bereft), signal.SIGKILL)
    empty(node)
    with node.start() as again:
        wait_until(lambda: status(again, container).state == EXITED, "the container has ended")
        wait_until(lambda: status(again, orphan).state == EXITED, "the other one, too")
        wait_until(lambda: not any(map(is_running, pids)), "nothing of them runs")
        assert pod_state(again, pod) == NOTREADY
        end(again, pod)
        end(again, bereft)


def test_a_zygote_that_is_killed_again_and_again_costs_some_calls_and_nothing_else(
    client: CriClient, node: Node, pods: Pods
) -> None:
    _, container = pods.start("sleep 1000")
    assert node.process
    daemon, over = node.process.pid, threading.Event()

    def kill_zygotes() -> int:
        killed = 0
        while True:
            if zygote := zygote_of(daemon):
                os.kill(zygote, signal.SIGKILL)
                killed += 1
            if over.wait(0.15):
                return killed

    def run_pod() -> int:
        """How often it had to be asked for."""
        config = node.pod()
        for attempt in range(1, 200):
            try:
                pods.run(config)
                return attempt
            except grpc.RpcError as exc:
                assert exc.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ALREADY_EXISTS), exc.details()
        raise AssertionError("never")

    with ThreadPoolExecutor(5) as threads:
        killing = threads.submit(kill_zygotes)
        runs = [threads.submit(run_pod) for _ in range(8)]
        [run.result() for run in runs]
        over.set()
        assert killing.result() > 0
    assert alive(client, container)


def test_a_shim_that_is_killed_in_the_middle_of_anything_leaves_a_pod_that_can_be_ended(
    client: CriClient, node: Node, pods: Pods
) -> None:
    for moment in range(6):
        sandbox = node.pod()
        pod = pods.run(sandbox)
        killer = threading.Timer(0.03 * moment, os.kill, (shim_of(pod), signal.SIGKILL))
        killer.start()
        try:
            container = pods.create(pod, sandbox, node.container("sleep 1000"))
            client.StartContainer(api.StartContainerRequest(container_id=container))
            alive(client, container)
            client.StopContainer(api.StopContainerRequest(container_id=container))
        except grpc.RpcError as exc:
            assert exc.code() != grpc.StatusCode.UNKNOWN, exc.details()
        killer.join()
        wait_until(lambda: pod_state(client, pod) == NOTREADY, "its end is noticed")  # noqa: B023 - called here only
        end(client, pod)
    assert node.left() == []


def test_a_root_directory_that_cannot_be_written_makes_the_node_not_ready_and_leaves_its_pods_in_hand(
    client: CriClient, node: Node, pods: Pods
) -> None:
    _, container = pods.start("sleep 1000")
    _, other = pods.start("sleep 1000")
    node.end(signal.SIGKILL)
    root = str(node.base / "root")
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    with node.start() as again:
        wait_until(lambda: "metadata.db cannot be used" in not_ready(again), "the node is not ready")
        assert alive(again, container)
        again.StopContainer(api.StopContainerRequest(container_id=container))
        assert status(again, container).state == EXITED
    node.end(signal.SIGTERM)
    subprocess.run(["umount", root], check=True)
    with node.start() as again:
        assert not not_ready(again)
        assert (status(again, container).state, alive(again, other)) == (EXITED, True)


def not_ready(client: CriClient) -> str:
    """Why."""
    conditions = client.Status(api.StatusRequest()).status.conditions
    return "".join(one.message for one in conditions if one.type == "RuntimeReady" and not one.status)
