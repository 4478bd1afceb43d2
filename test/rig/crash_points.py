"""Crash points: which named step of the code (core.failpoint) something happens at, and when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SKIPS = (0, 0, 0, 0, 0, 0, 1, 2)
"""Passings to let go by: most steps are taken once or twice in a pod's life."""
_RECOVERY = ("recover.", "sweep.")
_ABOUT_SHIMS = {"shim.start.directory", "shim.start.forked", "shim.remove.ended", "shim.remove.swept"}
"""Steps of crispd."""
_DEAF = {"container.stop.killed"}
"""Steps that are taken only when a container does not end by itself."""
_ROOTED = "sandbox.root."
"""What steps begin with that are taken only for a pod with a root container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    name: str
    skip: int
    """Passings before the one that counts."""
    action: str
    """Of core.failpoint."""

    @property
    def armed(self) -> str:
        return f"{self.name}={self.skip}*off->{self.action}"

    @property
    def kills_shim(self) -> bool:
        return self.action == "kill" and self.name.startswith("shim.") and self.name not in _ABOUT_SHIMS

    @property
    def needs_deaf_container(self) -> bool:
        return self.name in _DEAF

    @property
    def needs_rooted_pod(self) -> bool:
        return self.name.startswith(_ROOTED)


def random_rounds(count: int, names: Sequence[str], action: str, choose: random.Random) -> list[list[Point]]:
    """Every failpoint first about as often, at random passings, in random order; half of them with a second one, which
    is half the time a step of the recovery."""
    recovery = [name for name in names if name.startswith(_RECOVERY)]
    usual = [name for name in names if not name.startswith(_RECOVERY)]
    order: list[str] = []
    while len(order) < count:
        order += choose.sample(usual, len(usual))
    del order[count:]
    seconds = [[choose.choice(choose.choice((recovery or names, names)))] * choose.choice((0, 1)) for _ in order]
    return [
        [Point(name=name, skip=choose.choice(SKIPS), action=action) for name in (first, *second)]
        for first, second in zip(order, seconds)
    ]


class Trigger:
    """The file that the daemon and all it forks read their failpoints from (core.failpoint)."""

    def __init__(self, base: Path) -> None:
        self._path = base / "armed"
        self.setting = f"@{self._path}"

    def arm(self, point: Point) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(point.armed)
        fresh.rename(self._path)

    def disarm(self) -> None:
        self._path.unlink(missing_ok=True)

    @property
    def armed(self) -> bool:
        """Whether nobody has come to the point yet."""
        return self._path.exists()
