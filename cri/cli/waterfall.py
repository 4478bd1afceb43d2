"""Calls and their steps as bars over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from cri.api.call_times import CallTimes, StepTimes
from cri.cli.calls import extent, seconds_of
from cri.cli.output import printable, short

NAMES = 36
"""Columns for names of steps."""
TIMES = 11
"""Columns for their times; the bars have the rest."""
_STYLES = ("bold", "cyan", "blue")
"""By depth; what is deeper is as the last."""


def waterfall(calls: Sequence[CallTimes], width: int) -> Iterator[Text]:
    """A line for each call and for each of its steps, with a bar where it ran; `width` in columns.

    What passed between two calls is left out: that is the caller's time.
    """
    scale = _Scale(total=sum(map(extent, calls)), columns=max(width - NAMES - TIMES - 2, 10))
    before = 0.0
    for call in calls:
        yield scale.line(title(call), before, call["seconds"], 0, call["outcome"] or "under way")
        for depth, step in _nested(call["steps"]):
            outcome = "OK" if step["seconds"] is not None else "under way"
            yield scale.line(step["name"], before + step["start"], seconds_of(call, step), depth, outcome)
        before += extent(call)


def title(call: CallTimes) -> str:
    """An image by its name, a container by the start of its id."""
    is_id = len(call["object"]) == 64
    return f"{call['rpc']} {short(call['object']) if is_id else call['object']}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    total: float
    """Seconds of all columns."""
    columns: int

    def line(self, name: str, start: float, seconds: float, depth: int, outcome: str) -> Text:
        first = min(int(start / self.total * self.columns), self.columns - 1)
        length = max(1, min(round(seconds / self.total * self.columns), self.columns - first))
        text = "  " * depth + printable(name)
        text = text if len(text) <= NAMES else f"{text[: NAMES - 1]}…"
        line = Text(f"{text:<{NAMES}} {seconds * 1e3:>{TIMES - 3}.1f} ms ")
        line.append(" " * first + "█" * length, _STYLES[min(depth, len(_STYLES) - 1)])
        return line.append("" if outcome == "OK" else f" {outcome}", "red")


def _nested(steps: Sequence[StepTimes], parent: int | None = None, depth: int = 1) -> Iterator[tuple[int, StepTimes]]:
    """Each step and how deep it is, below the step around it."""
    for index, step in enumerate(steps):
        if step["parent"] == parent:
            yield depth, step
            yield from _nested(steps, index, depth + 1)
