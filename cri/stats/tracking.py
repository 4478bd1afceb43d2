"""What is kept of each container and pod between two calls for stats."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from core.cgroups.cgroups import Group
from core.cgroups.details import Details
from core.cgroups.open import open_group
from core.cgroups.usage import Usage
from core.errdefs import InvalidArgument
from core.linux.cgroup import CgroupLayout
from core.oci.cgroups import group_of, parent_group
from cri.stats.messages import container_attributes, pod_attributes
from cri.stats.rates import Rate, Reading, first_reading
from cri.store.container import Container
from cri.store.sandbox import PodSandbox

_FILES = 9
"""What a group of cgroup v2 holds open; v1 has fewer."""
_SHARE = 2
"""One in so many of the daemon's descriptors may be a control file: the rest is for connections and shims."""


@dataclass(slots=True)
class Tracked:
    """One container or pod."""

    attributes: bytes
    """The part of its stats message that never changes."""
    path: str
    """Of its control group; "" when it has none of its own."""
    group: Group | None
    steady: Callable[[], int]
    """A clock that is never set, in nanoseconds."""
    rate: Rate | None = None

    def usage(self) -> Usage | None:
        """None when the group is not there, not any more, or not yet."""
        try:
            return self.group.usage() if self.group else None
        except OSError:
            self.close()
            return None

    def details(self) -> Details | None:
        """None as above."""
        try:
            return self.group.details() if self.group else None
        except OSError:
            self.close()
            return None

    def reading(self, now: int, usage: Usage, started_at: int = 0) -> Reading:
        """What `usage` says together with earlier readings; `started_at` is when it began to count, 0: not known."""
        steady = self.steady()
        if self.rate is None:
            self.rate = first_reading(now - started_at if started_at else None, steady)
        return Reading(at=now, usage=usage, cores=self.rate.update(steady, usage.cpu))

    def close(self) -> None:
        """Idempotent; the group is opened again when it is read."""
        if self.group:
            self.group.close()


class Tracking:
    """It belongs to one thread. Methods raise Unavailable when the node has no control groups."""

    def __init__(self, layout: CgroupLayout, systemd: Callable[[str], bool], steady: Callable[[], int]) -> None:
        """`systemd` tells whether a runtime handler leaves control groups to systemd; `steady` is for rates."""
        self._layout = layout
        self._steady = steady
        self._systemd = systemd
        self._tracked: dict[str, Tracked] = {}
        self._most_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE // _FILES

    def container(self, container: Container) -> Tracked:
        tracked = self._tracked.get(container.id)
        if tracked is None:
            tracked = self._add(container.id, container_attributes(container), group_of(container.cgroup))
        return tracked

    def pod(self, pod: PodSandbox) -> Tracked:
        tracked = self._tracked.get(pod.id)
        if tracked is None:
            tracked = self._add(pod.id, pod_attributes(pod), self._pod_group(pod))
        return tracked

    def owners(self, ready: Iterable[PodSandbox]) -> set[str]:
        """Ids of the pods, of all that are ready, whose control group is no other pod's."""
        pods = [(pod.id, path) for pod in ready if (path := self.pod(pod).path)]
        users = Counter(path for _, path in pods)
        return {id_ for id_, path in pods if users[path] == 1}

    def keep(self, ids: Collection[str]) -> None:
        """Forget all but `ids`."""
        for id_ in [id_ for id_ in self._tracked if id_ not in ids]:
            self._tracked.pop(id_).close()

    def _add(self, id_: str, attributes: bytes, path: str) -> Tracked:
        keep = len(self._tracked) < self._most_open
        group = open_group(self._layout, path, keep=keep) if path else None
        tracked = self._tracked[id_] = Tracked(attributes, path, group, self._steady)
        return tracked

    def _pod_group(self, pod: PodSandbox) -> str:
        try:
            return parent_group(pod.request().linux.cgroup_parent, systemd=self._systemd(pod.runtime_handler))
        except InvalidArgument:  # no container can be made in such a pod
            return ""
