"""Which calls are kept, and how they are told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.steps import step
from cri import api
from cri.calls import KEPT, SLOW, SLOW_PULL, Calls

METADATA = api.PodSandboxMetadata(name="web", namespace="default", uid="u", attempt=1)
NAME = "web_default_u_1"


def made(calls: Calls, rpc: str, request: object, *, steps: tuple[str, ...] = ("work",)) -> None:
    with calls.note(rpc, request) as call:  # type: ignore[arg-type]
        for name in steps:
            with step(name):
                pass
        call.outcome = "OK"


def test_a_pods_calls_are_found_by_its_name_its_id_its_containers_and_its_images() -> None:
    calls = Calls({"c1": "pod1"}.get)  # type: ignore[arg-type]
    made(calls, "RunPodSandbox", api.RunPodSandboxRequest(config=api.PodSandboxConfig(metadata=METADATA)))
    made(calls, "PullImage", api.PullImageRequest(image=api.ImageSpec(image="busybox:1")))
    made(calls, "CreateContainer", api.CreateContainerRequest(pod_sandbox_id="pod1"))
    made(calls, "StartContainer", api.StartContainerRequest(container_id="c1"))
    made(calls, "StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id="pod2"))
    found = calls.of_pod("pod1", NAME, "busybox:1")
    assert [one["rpc"] for one in found] == ["RunPodSandbox", "PullImage", "CreateContainer", "StartContainer"]
    assert [one["outcome"] for one in found] == ["OK"] * 4
    assert [step["name"] for step in found[0]["steps"]] == ["work"]


def test_a_probe_each_second_does_not_push_out_the_start_of_the_pod() -> None:
    calls = Calls(lambda _: "pod1")
    made(calls, "StartContainer", api.StartContainerRequest(container_id="c1"))
    for _ in range(KEPT + 1):
        made(calls, "ExecSync", api.ExecSyncRequest(container_id="c1"))
    assert [one["rpc"] for one in calls.of_pod("pod1")] == ["StartContainer", "ExecSync"]


def test_the_number_of_calls_is_bounded_and_the_oldest_goes_first() -> None:
    calls = Calls()
    for number in range(KEPT + 1):
        made(calls, "StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id=str(number)))
    assert calls.of_pod("0") == []
    assert calls.of_pod("1")


def test_a_call_without_steps_is_not_kept() -> None:
    calls = Calls()
    made(calls, "PodSandboxStatus", api.PodSandboxStatusRequest(pod_sandbox_id="pod1"), steps=())
    assert calls.of_pod("pod1") == []


def test_a_call_under_way_is_told_with_the_step_that_goes_on() -> None:
    calls = Calls()
    request = api.StopPodSandboxRequest(pod_sandbox_id="pod1")
    with calls.note("StopPodSandbox", request), step("network"), step("cni bridge DEL"):
        [call] = calls.of_pod("pod1")
    assert call["outcome"] == ""
    assert [(step["name"], step["parent"], step["seconds"]) for step in call["steps"]] == [
        ("network", None, None),
        ("cni bridge DEL", 0, None),
    ]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the clock is ahead, as the last element says."""
    ahead, clock = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + ahead[-1])
    return ahead


@pytest.mark.parametrize(
    ("rpc", "request_", "patience"),
    [
        ("ListContainers", api.ListContainersRequest(), SLOW),
        ("StopContainer", api.StopContainerRequest(container_id="c1", timeout=30), SLOW + 30),
        ("ExecSync", api.ExecSyncRequest(container_id="c1", timeout=10), SLOW + 10),
        ("PullImage", api.PullImageRequest(image=api.ImageSpec(image="busybox:1")), SLOW_PULL),
    ],
)
def test_a_call_is_slow_when_it_takes_longer_than_it_was_given(
    later: list[float], rpc: str, request_: Any, patience: float
) -> None:
    calls = Calls()
    with calls.note(rpc, request_) as call:
        later.append(patience - 1)
        assert calls.under_way() == []
        later.append(patience + 1)
        assert calls.under_way() == [call]


def test_a_command_without_a_timeout_such_as_a_hook_of_the_kubelet_is_never_slow(later: list[float]) -> None:
    calls = Calls()
    with calls.note("ExecSync", api.ExecSyncRequest(container_id="c1")):
        later.append(1e6)
        assert calls.under_way() == []
