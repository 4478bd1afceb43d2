"""GetContainerEvents: what happened to containers and sandboxes, each time with the status of the whole pod after it.

Events are derived from the stores, so whoever changes a record, a verb, an exit or recovery, cannot forget one, and
their order is the order in which List and Status show the changes. Who reads events and loses the stream lists and
reads again: events of the past are not kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from cri import api
from cri.events.feed import Feed
from cri.events.transitions import Types, of_container, of_sandbox
from cri.store.container import Container
from cri.store.ready import Ready
from cri.store.sandbox import PodSandbox
from cri.store.store import Store, frame

_FIELDS = api.ContainerEventResponse.DESCRIPTOR.fields_by_name
_POD, _CONTAINERS = _FIELDS["pod_sandbox_status"].number, _FIELDS["containers_statuses"].number


class Events:
    def __init__(
        self,
        sandboxes: Store[PodSandbox],
        containers: Store[Container],
        statuses: tuple[Ready[PodSandbox], Ready[Container]],
        clock: Callable[[], int],
        feed: Feed,
    ) -> None:
        self._sandboxes = sandboxes
        self._containers = containers
        self._of_sandbox, self._of_container = statuses
        self._clock = clock
        self._feed = feed
        sandboxes.subscribe(self._on_sandbox)
        containers.subscribe(self._on_container)

    def read(self) -> AsyncGenerator[bytes, None]:
        """Serialised ContainerEventResponses from now on. Raises as `Feed.read`."""
        return self._feed.read()

    @property
    def pending(self) -> int:
        """Events that wait for the reader who is farthest behind."""
        return self._feed.pending

    def close(self) -> None:
        """End all streams."""
        self._feed.close()

    def _on_sandbox(self, before: PodSandbox | None, after: PodSandbox | None) -> None:
        pod = after or before
        if pod is not None:
            types = of_sandbox(before.state if before else None, after.state if after else None)
            self._publish(pod.id, pod, types)

    def _on_container(self, before: Container | None, after: Container | None) -> None:
        container = after or before
        if container is not None:
            types = of_container(before.state if before else None, after.state if after else None)
            self._publish(container.id, self._sandboxes.find(container.sandbox_id), types)

    def _publish(self, id_: str, pod: PodSandbox | None, types: Types) -> None:
        """A container whose pod is gone, which only a damaged store can have, has events without statuses."""
        if self._feed.idle or not types:
            return
        statuses = self._statuses(pod) if pod is not None else b""
        for kind in types:
            event = api.ContainerEventResponse(container_id=id_, container_event_type=kind, created_at=self._clock())
            self._feed.publish(event.SerializeToString() + statuses)

    def _statuses(self, pod: PodSandbox) -> bytes:
        members = [self._of_container.of(one) for one in self._containers.list() if one.sandbox_id == pod.id]
        of_pod = frame(self._of_sandbox.of(pod), _POD)
        return b"".join((of_pod, *(frame(status, _CONTAINERS) for status in members)))
