"""All that plugins are told, made from records and OCI specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from core.api import nri_types_pb2 as types
from core.errdefs import NotFound
from cri import api
from cri.nri.container import container_message
from cri.nri.limits import beyond_cri, from_cri, to_cri
from cri.nri.pod import pod_message
from cri.store.container import Container
from cri.store.sandbox import PodSandbox
from cri.store.store import Store


class Messages:
    """`spec` reads the config.json of a container."""

    pod = staticmethod(pod_message)
    limits = staticmethod(from_cri)

    def __init__(self, sandboxes: Store[PodSandbox], spec: Callable[[str], bytes]) -> None:
        self._sandboxes = sandboxes
        self._spec = spec

    def wanted(
        self, limits: types.LinuxResources, asked: api.LinuxContainerResources
    ) -> tuple[api.LinuxContainerResources, dict[str, Any]]:
        """`limits` over what was `asked` for, and what CRI has no fields for, as OCI has it."""
        return to_cri(limits, asked), beyond_cri(limits)

    def pod_of(self, container: Container) -> types.PodSandbox:
        """Of a pod that is gone, which only a damaged store can have, the id."""
        pod = self._sandboxes.find(container.sandbox_id)
        return pod_message(pod) if pod else types.PodSandbox(id=container.sandbox_id)

    def container(self, container: Container) -> types.Container:
        """It blocks, on a tmpfs."""
        try:
            spec = msgspec.json.decode(self._spec(container.id))
        except NotFound:
            spec = {}
        return container_message(container, spec)

    def new_container(self, container: Container) -> types.Container:
        """One that has no state yet."""
        message = self.container(container)
        message.state = types.CONTAINER_UNKNOWN
        return message
