"""What the daemon tells of the calls on a pod."""

from __future__ import annotations

import time

from cri import api
from cri.api.call_times import CallTimes, StepTimes
from cri.cli.client import Client
from cri.cli.inspection import documents
from cri.cli.names import find_pod


def calls_of(client: Client, reference: str) -> list[CallTimes]:
    """Those on a pod, in the order of their starts. Raises Missing, Ambiguous, CallFailed."""
    request = api.PodSandboxStatusRequest(pod_sandbox_id=find_pod(client, reference).id, verbose=True)
    calls = documents(client.call("PodSandboxStatus", request).info).get("calls")
    return calls if isinstance(calls, list) else []


def seconds_of(call: CallTimes, step: StepTimes) -> float:
    """So far, for one that goes on: it may outlive its call."""
    if step["seconds"] is not None:
        return step["seconds"]
    return max(0.0, (time.time_ns() - call["began"]) / 1e9 - step["start"])


def extent(call: CallTimes) -> float:
    """Seconds from its start to the end of its last step."""
    return max(call["seconds"], *(step["start"] + seconds_of(call, step) for step in call["steps"]), 1e-6)
