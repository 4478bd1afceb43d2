"""A pod's calls as bars and as a trace."""

from __future__ import annotations

from typing import Any

from cri.api.call_times import CallTimes, StepTimes
from cri.cli.chrome import chrome_trace
from cri.cli.waterfall import NAMES, TIMES, waterfall

STEPS: list[StepTimes] = [
    {"name": "namespaces", "parent": None, "start": 0.0, "seconds": 0.5},
    {"name": "files", "parent": None, "start": 0.25, "seconds": 0.5},
    {"name": "shim Create", "parent": 0, "start": 0.1, "seconds": 0.4},
]
TIMED: Any = {"object": "", "began": 10**18, "seconds": 1.0}
RUN: CallTimes = {"rpc": "RunPodSandbox", **TIMED, "outcome": "OK", "steps": STEPS}
STOP: CallTimes = {**RUN, "rpc": "StopPodSandbox", "outcome": "DEADLINE_EXCEEDED"}


def bar(line: str) -> tuple[int, int]:
    """Where it begins, and how long it is."""
    drawn = line[NAMES + TIMES + 2 :]
    return len(drawn) - len(drawn.lstrip()), drawn.count("█")


def test_bars_stand_where_their_steps_ran_and_steps_below_the_one_around_them() -> None:
    lines = [line.plain for line in waterfall([RUN, STOP], NAMES + TIMES + 2 + 40)]
    names = [line[:NAMES].rstrip() for line in lines]
    assert names[:4] == ["RunPodSandbox", "  namespaces", "    shim Create", "  files"]
    assert [bar(line) for line in lines[:4]] == [(0, 20), (0, 10), (2, 8), (5, 10)]
    assert bar(lines[4]) == (20, 20)
    assert lines[4].endswith("DEADLINE_EXCEEDED")
    assert "1000.0 ms" in lines[0]


def test_events_of_one_track_nest_and_lie_where_they_were() -> None:
    events = chrome_trace([RUN, STOP])["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert spans[0] == {
        "ph": "X",
        "name": "RunPodSandbox",
        "pid": 1,
        "tid": 0,
        "ts": 1e15,
        "dur": 1e6,
        "args": {"outcome": "OK"},
    }
    assert {(span["name"], span["tid"]) for span in spans if span["pid"] == 1} == {
        ("RunPodSandbox", 0),
        ("namespaces", 0),
        ("shim Create", 0),
        ("files", 1),
    }
    for one in spans:
        assert all(nested_or_apart(one, other) for other in spans if same_track(one, other))
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == ["RunPodSandbox", "StopPodSandbox"]


def same_track(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["pid"], one["tid"]) == (other["pid"], other["tid"])


def nested_or_apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    first, second = sorted((one, other), key=lambda span: (span["ts"], -span["dur"]))
    end, start = first["ts"] + first["dur"], second["ts"]
    return bool(start >= end or start + second["dur"] <= end + 1)
