"""Calls as a trace in the JSON that ui.perfetto.dev and chrome://tracing read (Trace Event Format, "X" and "M").

On one track events must nest. So each call is a process, and steps that overlap have tracks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cri.api.call_times import CallTimes
from cri.cli.calls import seconds_of

_ROUNDING = 1e-7
"""Seconds by which a step may seem to end after the step around it: what a double leaves of a day in nanoseconds."""


def chrome_trace(calls: Sequence[CallTimes]) -> dict[str, Any]:
    """Times are microseconds since the epoch."""
    events = [event for number, call in enumerate(calls, 1) for event in _events(number, call)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _events(process: int, call: CallTimes) -> Iterator[dict[str, Any]]:
    title = f"{call['rpc']} {call['object']}".strip()
    yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": title}}

    def span(name: str, track: int, start: float, seconds: float) -> dict[str, Any]:
        times = {"ts": call["began"] / 1e3 + start * 1e6, "dur": seconds * 1e6}
        return {"ph": "X", "name": name, "pid": process, "tid": track, **times, "args": {}}

    yield {**span(call["rpc"], 0, 0, call["seconds"]), "args": {"outcome": call["outcome"] or "under way"}}
    tracks = [[call["seconds"]]]
    for step in sorted(call["steps"], key=lambda step: step["start"]):
        seconds = seconds_of(call, step)
        yield span(step["name"], _track(tracks, step["start"], step["start"] + seconds), step["start"], seconds)


def _track(tracks: list[list[float]], start: float, end: float) -> int:
    """The first track on which the step nests. Each is a stack of the ends of what is open there."""
    for number, ends in enumerate(tracks):
        while ends and ends[-1] <= start:
            ends.pop()
        if not ends or end <= ends[-1] + _ROUNDING:
            ends.append(end)
            return number
    tracks.append([end])
    return len(tracks) - 1
