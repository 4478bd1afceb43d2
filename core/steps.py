"""What a call does, step by step and with times, so that a slow one can say where it is slow.

    with calling("RunPodSandbox") as call:
        with step("network"):
            with step("cni bridge ADD"):
                ...
    call.slowest()

A step belongs to the step around it: across awaits, in tasks that are started inside it, and in threads by `carried`.
So steps that overlap are seen to. Outside of a call a step is not noted and costs 0.3 µs, inside one 1 µs.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

MAX_STEPS = 256
"""Of one call: an image of 40 layers has 120. What comes behind is not noted."""


@dataclass(slots=True, kw_only=True, eq=False)
class Step:
    """Times are seconds of time.monotonic."""

    name: str
    parent: Step | None
    """The step around it."""
    started: float
    ended: float | None = None
    """None while it goes on."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    name: str
    began: int = field(default_factory=time.time_ns)
    """Of its start: nanoseconds since the epoch."""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    outcome: str = ""
    """How it ended, in the caller's words."""
    steps: list[Step] = field(default_factory=list)
    """In the order of their starts. Work that outlives its caller adds to them when the call has ended."""
    parent: str = ""
    """The `traceparent` of the client's trace (W3C Trace Context), "" when it told none."""
    patience: float = math.inf
    """Seconds after which it is worth a look."""
    joined: Call | None = None
    """The one that does the work, when an equal call had begun it."""

    def seconds(self) -> float:
        """So far, or until its end."""
        return (self.ended or time.monotonic()) - self.started

    def is_slow(self) -> bool:
        return self.seconds() > self.patience

    def slowest(self) -> str:
        """`'cni bridge ADD' took 3.1 s`, or `'cni bridge ADD' for 3.1 s` while it goes on; "" without steps.

        Counted is a step's own time, in which no step inside it ran.
        """
        call, now = self.joined or self, time.monotonic()
        own = {one: (one.ended or now) - one.started for one in call.steps}
        for one in call.steps:
            if one.parent:
                own[one.parent] -= (one.ended or now) - one.started
        if not own:
            return ""
        longest = max(own, key=own.__getitem__)
        seconds = max(own[longest], 0)
        return f"{longest.name!r} took {seconds:.1f} s" if longest.ended else f"{longest.name!r} for {seconds:.1f} s"

    def where(self) -> str:
        """The steps that go on now, the innermost of each line: `'cni bridge ADD' for 3.1 s`; "" when there is none."""
        call, now = self.joined or self, time.monotonic()
        running = [one for one in call.steps if not one.ended]
        around = {one.parent for one in running}
        return ", ".join(f"{one.name!r} for {now - one.started:.1f} s" for one in running if one not in around)


_here: contextvars.ContextVar[tuple[Call, Step | None] | None] = contextvars.ContextVar("here", default=None)


@contextlib.contextmanager
def calling(name: str) -> Iterator[Call]:
    """Note the steps of the block. `outcome` is the block's to set."""
    call = Call(name=name)
    token = _here.set((call, None))
    try:
        yield call
    finally:
        call.ended = time.monotonic()
        _here.reset(token)


def current() -> Call | None:
    """The call that this code runs in."""
    here = _here.get()
    return here[0] if here else None


class step:  # noqa: N801 - a context manager, used as a verb; a generator would cost twice as much
    """Note the block as a step of the call that it runs in."""

    __slots__ = ("_name", "_step", "_token")

    def __init__(self, name: str) -> None:
        self._name = name
        self._step: Step | None = None

    def __enter__(self) -> None:
        here = _here.get()
        if here is None or len(here[0].steps) >= MAX_STEPS:
            return
        call, parent = here
        self._step = Step(name=self._name, parent=parent, started=time.monotonic())
        call.steps.append(self._step)
        self._token = _here.set((call, self._step))

    def __exit__(self, *_: object) -> None:
        if self._step:
            self._step.ended = time.monotonic()
            _here.reset(self._token)


P = ParamSpec("P")
R = TypeVar("R")


def carried(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, whose steps belong to this code's call also in a thread. It can be called once at a time."""
    context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.run(function, *args, **kwargs)

    return run
