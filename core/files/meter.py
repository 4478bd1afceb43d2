"""What trees take on disk, known without waiting: counted in the background, when asked for, at a bounded cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from core.files.usage import disk_usage

FRESH = 10.0
"""Seconds that a count is good for: the kubelet's own period of housekeeping."""
WORK, REST = 0.02, 0.38
"""Seconds of counting, and of rest behind it: trees of any size and number cost a twentieth of a core, new ones as much
again."""
FIRST_WAIT = 0.1
"""Seconds that whoever asks first may wait: a new container's layer is counted in a thousandth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    size: int
    """Bytes."""
    inodes: int
    at: int
    """When it was counted: nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    measured: Measured
    when: float
    """By the steady clock."""


class _Lane:
    """Trees that wait for their count, and the thread that counts one after the other."""

    def __init__(self) -> None:
        self.wanted: dict[str, str] = {}  # key to path, in the order of asking
        self.began = 0.0  # the thread's own: when it last rested


class Meter:
    """Counts of trees, each under a key. Nothing is done for a tree that nobody asks for. `close` ends its threads.

    New trees have a thread of their own, since they are small, as a rule, and somebody waits for their first count.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        steady: Callable[[], float] = time.monotonic,
        work: float = WORK,
        rest: float = REST,
    ) -> None:
        """`clock` tells the nanoseconds since the epoch and may be set; `steady` tells seconds that only grow: a clock
        that is set back must not make a count look fresh for a year (hazards 3.26)."""
        self._clock = clock
        self._steady = steady
        self._work = work
        self._rest = rest
        self._mu = threading.Condition()
        self._known: dict[str, _Count] = {}  # guarded by _mu, as all below and what lanes want
        self._closed = False
        self._new, self._again = _Lane(), _Lane()
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name="meter", daemon=True)
            for lane in (self._new, self._again)
        ]
        for thread in self._threads:
            thread.start()

    def usage(self, key: str, path: str, *, still_since: int = 0) -> Measured | None:
        """The last count of the tree at `path`, which is counted again when it is old; None before the first.

        `still_since`: nothing changes there since that time, so one count behind it is enough; 0 when something may.
        """
        good_for = max(FRESH, (self._clock() - still_since) / 1e9) if still_since else FRESH
        with self._mu:
            known = self._known.get(key)
            if known is None or self._steady() - known.when > good_for:
                lane = self._again if known else self._new
                lane.wanted[key] = path
                self._mu.notify_all()
            return known.measured if known else None

    def wait_counted(self, timeout: float = FIRST_WAIT) -> None:
        """Return when no new tree is left to count, or `timeout` seconds have passed."""
        with self._mu:
            self._mu.wait_for(lambda: not self._new.wanted, timeout)

    def keep(self, keys: Collection[str]) -> None:
        """Forget all trees but these."""
        with self._mu:
            for known in (self._known, self._new.wanted, self._again.wanted):
                for key in [key for key in known if key not in keys]:
                    del known[key]

    def close(self) -> None:
        """Idempotent. A count under way is given up."""
        with self._mu:
            self._closed = True
            self._mu.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, lane: _Lane) -> None:
        while (item := self._next(lane)) is not None:
            key, path = item
            count = self._count(lane, path)
            with self._mu:
                if lane.wanted.pop(key, None) and count:  # else it was forgotten meanwhile
                    self._known[key] = count
                self._mu.notify_all()

    def _next(self, lane: _Lane) -> tuple[str, str] | None:
        """What was asked for first; None at the end."""
        with self._mu:
            if not lane.wanted:
                self._mu.wait_for(lambda: lane.wanted or self._closed)
                lane.began = time.monotonic()
            return None if self._closed else next(iter(lane.wanted.items()))

    def _count(self, lane: _Lane, path: str) -> _Count | None:
        """None when the tree is gone, or the meter is closed."""
        try:
            self._pause(lane)
            at, when = self._clock(), self._steady()
            usage = disk_usage(path, lambda: self._pause(lane))
        except (OSError, _ClosedError):
            return None
        return _Count(measured=Measured(size=usage.size, inodes=usage.inodes, at=at), when=when)

    def _pause(self, lane: _Lane) -> None:
        """Rest when it is time to. Raises _ClosedError."""
        if time.monotonic() - lane.began > self._work:
            with self._mu:
                self._mu.wait_for(lambda: self._closed, self._rest)
            lane.began = time.monotonic()
        if self._closed:
            raise _ClosedError


class _ClosedError(Exception):
    pass
