"""What is kept of each container and pod between two calls for stats."""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection
from dataclasses import dataclass

from core.cgroups.cgroups import Group, Usage
from core.cgroups.open import open_group
from core.linux.cgroup import CgroupLayout
from cri.stats.rates import Rate, Reading, first_reading

_FILES = 16
"""Above what one group holds open."""
_SHARE = 4
"""One in so many of the daemon's descriptors may be a control file: the rest is for connections."""


@dataclass(slots=True)
class Tracked:
    """One container or pod."""

    attributes: bytes
    """The part of its message that never changes."""
    path: str
    """Of its control group; "" when it has none of its own."""
    group: Group | None
    rate: Rate | None = None

    def usage(self) -> Usage | None:
        """None when the group is not there, not any more, or not yet."""
        try:
            return self.group.usage() if self.group else None
        except OSError:
            self.close()
            return None

    def reading(self, now: int, usage: Usage, started_at: int = 0) -> Reading:
        """What `usage` says together with earlier readings; `started_at` is when it began to count, 0: not known."""
        if self.rate is None:
            self.rate = first_reading(started_at, now)
        return Reading(at=now, usage=usage, cores=self.rate.update(now, usage.cpu))

    def close(self) -> None:
        """Idempotent; the group is opened again when it is read."""
        if self.group:
            self.group.close()


class Tracking:
    """By id. It belongs to one thread."""

    def __init__(self, layout: CgroupLayout) -> None:
        self._layout = layout
        self._tracked: dict[str, Tracked] = {}
        self._most_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE // _FILES

    def get(self, id_: str, describe: Callable[[], tuple[bytes, str]]) -> Tracked:
        """`describe` tells the attributes and the control group of what was not asked for before.

        Raises Unavailable when the node counts nothing.
        """
        tracked = self._tracked.get(id_)
        if tracked is None:
            attributes, path = describe()
            keep = len(self._tracked) < self._most_open
            group = open_group(self._layout, path, keep=keep) if path else None
            tracked = self._tracked[id_] = Tracked(attributes, path, group)
        return tracked

    def keep(self, ids: Collection[str]) -> None:
        """Forget all but `ids`."""
        for id_ in [id_ for id_ in self._tracked if id_ not in ids]:
            self._tracked.pop(id_).close()
