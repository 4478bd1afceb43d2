"""crispctl as its user has it: the installed command against a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cri import api
from rig.cri_calls import wait_exited
from rig.cri_client import CriClient
from rig.crispctl import Crispctl, on_terminal, read_until
from rig.hostile_registry import held_up, hostile_registry
from rig.images import build, files, layer, sha256
from rig.node import wait_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def ctl(node: Node) -> Crispctl:
    return Crispctl(node)


def test_every_command_that_the_readme_shows_works(ctl: Crispctl, client: CriClient, node: Node) -> None:
    commands = [shlex.split(line)[1:] for line in README.read_text().splitlines() if line.startswith("    crispctl ")]
    assert len(commands) > 10
    client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=node.image)))
    shown = {}
    for words in commands:
        arguments = [node.image if word.startswith("docker.io/") else word for word in words]
        arguments = [word.replace("/tmp/", f"{node.base}/") for word in arguments]
        shown[" ".join(words)] = ctl(*arguments)
        if words[0] == "run":
            node.sandboxes.update(pod["id"] for pod in ctl.json("pods")["items"])
    output = {words.split()[0]: text for words, text in shown.items()}
    assert "NetworkReady" in output["info"]
    assert output["run"] == "web\n"
    assert output["exec"] == "web\n"
    assert output["pods"].split()[:6] == ["POD", "NAME", "NAMESPACE", "STATE", "AGE", "HANDLER"]
    assert " ready " in output["pods"]
    assert node.image in output["images"]
    assert ctl.json("images") == {"images": []}


def test_run_prints_what_the_container_writes_and_exits_with_its_code(ctl: Crispctl, node: Node) -> None:
    script = "echo $GREETING; echo err >&2; printf tail; exit 3"
    code, out, err = ctl.run("run", "--rm", "-e", "GREETING=hi", node.image, "sh", "-c", script)
    assert (code, out, err) == (3, "hi\ntail", "err\n")
    assert ctl.json("pods") == {"items": []}
    assert list(node.logs.iterdir()) == []
    entries = ctl("run", "--rm", "--json", node.image, "echo", "one").splitlines()
    assert [(entry["stream"], entry["text"]) for entry in map(json.loads, entries)] == [("stdout", "one")]


def test_an_interrupted_run_stops_its_container_and_removes_it(ctl: Crispctl, node: Node) -> None:
    script = "trap 'exit 7' TERM; echo up; while true; do sleep 0.05; done"
    process = ctl.start("run", "--rm", node.image, "sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=patient(30))
    assert process.returncode == 7
    assert ctl.json("pods") == {"items": []}


def test_what_run_cannot_start_leaves_nothing(ctl: Crispctl, node: Node) -> None:
    assert "no/such/program" in ctl.fails("run", "--rm", "--name", "x", node.image, "/no/such/program")
    assert "connection refused" in ctl.fails("run", "--rm", "--name", "x", "127.0.0.1:1/none:1")
    assert node.left() == []


def test_logs_follow_a_container_across_rotation_to_its_end(ctl: Crispctl, client: CriClient, pods: Pods) -> None:
    _, container = pods.start("echo first; until test -e /tmp/go; do sleep 0.02; done; echo last; echo end >&2")
    path = Path(client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status.log_path)
    with ctl.start("logs", "-f", container[:6], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        assert process.stdout.readline() == b"first\n"
        path.rename(f"{path}.1")
        client.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container))
        ctl("exec", container, "touch", "/tmp/go")
        assert sorted(process.stdout.read().splitlines()) == [b"end", b"last"]
    assert process.returncode == 0


def test_logs_of_the_attempt_before_and_of_the_last_while(
    ctl: Crispctl, client: CriClient, node: Node, pods: Pods
) -> None:
    sandbox = node.pod()
    pod = pods.run(sandbox)
    for attempt in (0, 1):
        config = node.container(f"echo attempt {attempt}")
        config.metadata.attempt, config.log_path = attempt, f"{attempt}.log"
        container = pods.create(pod, sandbox, config)
        client.StartContainer(api.StartContainerRequest(container_id=container))
    wait_until(lambda: ctl("logs", "main") == "attempt 1\n", "it has written")
    assert ctl("logs", "--previous", "main") == "attempt 0\n"
    assert "first of its name" in ctl.fails("logs", "-p", ctl("ps", "-aq").split()[-1])
    path = Path(client.ContainerStatus(api.ContainerStatusRequest(container_id=container)).status.log_path)
    path.write_text(f"2020-01-01T00:00:00.123456789Z stdout F long ago\n{path.read_text()}")
    assert ctl("logs", "main") == "long ago\nattempt 1\n"
    assert ctl("logs", "--since", "1h", "main") == "attempt 1\n"


def test_exec_exits_with_the_commands_code_and_keeps_the_streams_apart(ctl: Crispctl, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    assert ctl.run("exec", container, "sh", "-c", "echo out; echo err >&2; exit 9") == (9, "out\n", "err\n")
    answer = json.loads(ctl("exec", "--json", container, "echo", "out"))
    assert answer == {"stdout": "out\n", "stderr": "", "exitCode": 0}
    assert "deadline exceeded" in ctl.fails("exec", "--timeout", "1", container, "sleep", "1000")


def test_lists_show_what_there_is_as_tables_and_as_json(
    ctl: Crispctl, client: CriClient, pods: Pods, node: Node
) -> None:
    pod, container = pods.start("sleep 1000")
    other, ended = pods.start("true")
    wait_exited(client, ended)
    assert {one["id"] for one in ctl.json("pods")["items"]} == {pod, other}
    assert [one["id"] for one in ctl.json("ps")["containers"]] == [container]
    assert len(ctl.json("ps", "--all")["containers"]) == 2
    assert [one["podSandboxId"] for one in ctl.json("ps", "--all", "--pod", other)["containers"]] == [other]
    assert container[:13] in ctl("ps")
    assert container in [one["attributes"]["id"] for one in ctl.json("stats")["stats"]]
    assert container[:13] in ctl("stats")
    assert ctl.json("info")["status"]["conditions"][0]["type"] == "RuntimeReady"
    assert json.loads(ctl("inspect", pod))["status"]["id"] == pod
    assert json.loads(ctl("inspect", container))["info"]["sandboxID"] == pod
    assert json.loads(ctl("inspect", node.image))["status"]["repoTags"] == [node.image]


def test_lists_are_narrowed_and_print_ids_for_scripts(
    ctl: Crispctl, client: CriClient, pods: Pods, node: Node
) -> None:
    sandbox = node.pod()
    sandbox.metadata.namespace, sandbox.labels["team"] = "blue", "b"
    pod = pods.run(sandbox)
    config = node.container("exit 3", "ended")
    config.labels["team"] = "b"
    ended = pods.create(pod, sandbox, config)
    client.StartContainer(api.StartContainerRequest(container_id=ended))
    _, running = pods.start("sleep 1000")
    assert ctl("pods", "-q", "-n", "blue") == ctl("pods", "-q", "-l", "team=b") == f"{pod}\n"
    assert ctl("ps", "-q") == f"{running}\n"
    wait_until(lambda: "exited 3 Error" in ctl("ps", "--all", "-l", "team=b"), "it has exited")
    assert ctl("ps", "--all", "-q", "-l", "team=b") == f"{ended}\n"
    assert ctl("images", "-q").startswith("sha256:")


def test_limits_of_a_container_are_changed_and_others_stay(ctl: Crispctl, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    assert ctl("update", "--memory", "64m", "--cpus", "0.5", container) == f"{container}\n"
    ctl("update", "--memory", "96MiB", container)
    limits = ctl.json("inspect", container)["status"]["resources"]["linux"]
    assert (int(limits["memoryLimitInBytes"]), int(limits["cpuQuota"])) == (96 << 20, 50_000)


def test_what_is_on_the_disk_is_told_by_filesystem(ctl: Crispctl, node: Node) -> None:
    lines = ctl("df").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["images", f"{node.base}/root"],
        ["containers", f"{node.base}/root"],
    ]
    assert int(ctl.json("df")["imageFilesystems"][0]["usedBytes"]["value"]) > 1_000_000


def test_containers_and_pods_are_stopped_and_removed_and_what_runs_is_not(ctl: Crispctl, pods: Pods) -> None:
    pod, container = pods.start("trap 'exit 7' TERM; while true; do sleep 0.05; done")
    ctl("exec", container, "true")
    assert "runs: stop it first" in ctl.fails("rm", container)
    assert "runs: stop it first" in ctl.fails("rmp", pod)
    assert ctl("stop", container).strip() == container
    assert ctl.json("inspect", container)["status"]["exitCode"] == 7
    assert ctl.json("rm", container) == [container]
    assert ctl("stopp", pod) == ctl("rmp", pod) == f"{pod}\n"
    forced, _ = pods.start("sleep 1000")
    ctl("rmp", "--force", forced)
    assert ctl.json("pods") == {"items": []}


def test_of_several_things_those_that_are_there_are_done_and_the_others_named(ctl: Crispctl, pods: Pods) -> None:
    _, container = pods.start("true")
    code, out, err = ctl.run("rm", "--force", "none", container)
    assert (code, out, err) == (1, f"{container}\n", "Error: there is no container 'none'\n")
    assert "no image" in ctl.fails("rmi", "127.0.0.1:1/none:1")
    assert "no container, pod or image" in ctl.fails("inspect", "none")


@pytest.mark.timeout(60)
async def test_a_pull_shows_its_layers_on_a_terminal_and_only_the_id_elsewhere(ctl: Crispctl) -> None:
    built = build([layer(files({"a": os.urandom(1 << 20)})), layer(files({"b": os.urandom(1 << 20)}))])
    async with hostile_registry() as registry:
        name = registry.add(built, "test/pull", "1")
        registry.on(f"/blobs/{sha256(built.layers[0].data)}", held_up(after=1 << 19), times=1)
        terminal, process = on_terminal(ctl, "pull", name)
        shown = await asyncio.to_thread(read_until, terminal, b"0.5/1.0 MiB downloading")
        registry.released.set()
        shown += await asyncio.to_thread(read_until, terminal, b"")
        assert process.wait() == 0
        assert shown.count(b"1.0/1.0 MiB done") >= 2
        assert shown.splitlines()[-1].decode().endswith(built.id)
        assert await asyncio.to_thread(ctl.run, "pull", name) == (0, f"{built.id}\n", "")
        assert await asyncio.to_thread(ctl.json, "pull", name) == {"image": name, "id": built.id}
        assert "not found" in await asyncio.to_thread(ctl.fails, "pull", f"{registry.host}/test/pull:none")


def test_events_come_as_things_happen_and_end_with_the_daemon(ctl: Crispctl, node: Node, pods: Pods) -> None:
    with ctl.start("events", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        while not select.select([process.stdout], [], [], 0.2)[0]:
            pods.start("true")  # what happened before it listened is not told
        line = process.stdout.readline().decode()
        assert re.fullmatch(r"\S+Z (created|started|stopped) [0-9a-f]{13} (container main of )?pod test/pod\n", line)
        node.end(signal.SIGTERM)
        assert process.stderr.read().startswith(b"Error: ")
    assert process.returncode == 1


def test_a_daemon_that_has_gone_is_said_with_what_helps(ctl: Crispctl, node: Node) -> None:
    node.end(signal.SIGKILL)
    assert "start crispd" in ctl.fails("ps")
    assert "start crispd" in ctl.fails("pull", node.image)



def test_top_shows_pods_with_their_containers_again_and_again(ctl: Crispctl, pods: Pods) -> None:
    pod, container = pods.start("while true; do :; done")
    lines = ctl("top", "--count", "2", "--interval", "0.5").splitlines()
    half = len(lines) // 2
    assert lines[0].split()[:4] == ["NAME", "ID", "CPU", "%"]
    [whole] = [line.split() for line in lines[half:] if pod[:13] in line]
    [part] = [line.split() for line in lines[half:] if container[:13] in line]
    assert whole[0] == "test/pod"
    assert part[0] == "main"
    assert float(part[2]) > 0
    looks = [json.loads(line) for line in ctl("top", "--count", "2", "--interval", "0.1", "--json").splitlines()]
    assert [look["stats"][0]["attributes"]["id"] for look in looks] == [pod, pod]
    terminal, process = on_terminal(ctl, "stats", "--watch", "0.1")
    read_until(terminal, container[:13].encode())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=patient(20)) == 0
    terminal.close()
