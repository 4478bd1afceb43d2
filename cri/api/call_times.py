"""Calls as JSON: an array of CallTimes is the info key "calls" of a verbose PodSandboxStatus."""

from __future__ import annotations

from typing import TypedDict


class StepTimes(TypedDict):
    name: str
    parent: int | None
    """The index of the step around it."""
    start: float
    """Seconds from the start of the call."""
    seconds: float | None
    """None while it goes on."""


class CallTimes(TypedDict):
    rpc: str
    object: str
    """The id of the container or the name of the image, "" for the pod itself."""
    began: int
    """Nanoseconds since the epoch."""
    seconds: float
    outcome: str
    """The name of the gRPC status, "" while it is under way."""
    steps: list[StepTimes]
