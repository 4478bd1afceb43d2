"""A pod's life against points that are armed one after the other, and what becomes of it (test/fault/crash.py)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import grpc

from rig.crash_points import Point
from rig.kubelet import EXIT_CODE, LINES, Failure, Kubelet
from rig.mortal_node import Crashed, MortalNode
from rig.node import wait_until
from rig.strays import strays

ROOTED = "rooted"
"""The runtime handler that the node has for pods with a root container."""
TRIES = 3
BACKOFF = 0.5
"""Seconds between them: a kubelet waits longer."""


class Round:
    def __init__(self, mortal: MortalNode, points: Sequence[Point]) -> None:
        self._mortal = mortal
        self._points = list(points)
        self.hit: list[Point] = []
        self.problems: list[str] = []
        self._kubelet = Kubelet(
            mortal.node,
            mortal.client,
            handler=ROOTED if any(point.needs_rooted_pod for point in points) else "",
            deaf=any(point.needs_deaf_container for point in points),
        )
        self._armed: Point | None = None

    def run(self) -> None:
        kubelet = self._kubelet
        self._arm()
        lived = all(map(self._repeat, (kubelet.pull, kubelet.run, kubelet.exec, kubelet.run_to_end)))
        self._look()
        if lived and not any(point.kills_shim for point in self.hit):
            self._repeat(self._judge)
        for verb in (kubelet.remove, kubelet.remove_image):
            self._repeat(verb)
        self._look()
        self._mortal.trigger.disarm()
        self._settle()
        self.problems += self._mortal.witness.problems(self._mortal.client)

    def _judge(self) -> None:
        code, log = self._kubelet.outcome()
        if code != EXIT_CODE:
            self.problems.append(f"I6: exit code {code}")
        if log != [f"line {number}" for number in range(LINES)]:
            self.problems.append(f"I7: {len(log)} lines")

    def _repeat(self, verb: Callable[[], None]) -> bool:
        """Whether it succeeded in the end."""
        for attempt in range(1, TRIES + 2):
            try:
                verb()
                break
            except Failure as exc:
                self._recover()
                if attempt > TRIES:
                    self.problems.append(f"I3: {verb.__name__} fails after {TRIES} tries: {_words(exc)}")
                    return False
                time.sleep(BACKOFF)
        if self._kubelet.workloads() > 1:
            self.problems.append("I4: two workloads")
        return True

    def _arm(self) -> None:
        if self._points:
            self._armed = self._points.pop(0)
            self._mortal.trigger.arm(self._armed)

    def _look(self) -> None:
        """Note it when the armed point has been hit."""
        if self._armed and not self._mortal.trigger.armed:
            self.hit.append(self._armed)
            self._armed = None

    def _recover(self) -> None:
        """Let the daemon have seen to what has died, or bring it back itself."""
        while True:
            while not self._mortal.answers():
                self._bring_back()
            self._kubelet.client = self._mortal.client
            with contextlib.suppress(grpc.RpcError):  # it has died of the next point
                return self._see("the death of a shim is noticed", self._kubelet.is_pod_alive)

    def _bring_back(self) -> None:
        """The next point is armed before the daemon starts."""
        self._look()
        if self._armed or not self.hit:
            self.problems.append("the daemon has ended by itself")
        self._arm()
        with contextlib.suppress(Crashed):
            self.problems += self._mortal.restart()

    def _settle(self) -> None:
        """Exits and deaths are seen to in the background: wait for what must become true."""
        mortal = self._mortal
        self._recover()
        try:
            wait_until(lambda: not strays(mortal.node, mortal.client, mortal.before), "no strays", 5)
        except AssertionError:
            self.problems += [f"I2: {stray}" for stray in strays(mortal.node, mortal.client, mortal.before)]

    def _see(self, what: str, condition: Callable[[], bool]) -> None:
        try:
            wait_until(condition, what)
        except AssertionError as exc:
            self.problems.append(str(exc))


def _words(failure: Exception) -> str:
    return str(failure.details()) if isinstance(failure, grpc.Call) else repr(failure)
