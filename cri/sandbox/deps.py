"""What the sandbox verbs work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from core.errdefs import InvalidArgument
from core.network.network import Network
from core.sandbox.controller import SandboxController
from cri.config.config import Runtime
from cri.nri.hooks import Hooks
from cri.sandbox.files import PodFiles
from cri.store.locks import Locks
from cri.store.operations import Operations
from cri.store.ready import Ready
from cri.store.sandbox import PodSandbox
from cri.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxDeps:
    sandboxes: Store[PodSandbox]
    statuses: Ready[PodSandbox]
    controllers: Mapping[str, SandboxController]
    """By runtime handler; "" is the default one."""
    handlers: Mapping[str, Runtime]
    """Configuration by runtime handler, as above."""
    network: Network
    files: PodFiles
    operations: Operations
    locks: Locks
    nri: Hooks
    filesystem: Executor
    end_containers: Callable[[str], Awaitable[None]]
    """Kill what still runs in a pod and wait for it."""
    remove_containers: Callable[[str], Awaitable[None]]
    new_id: Callable[[], str]
    clock: Callable[[], int]
    """Nanoseconds since the epoch."""

    def controller(self, handler: str) -> SandboxController:
        """Raises InvalidArgument for a handler that is not configured."""
        if handler not in self.controllers:
            known = ", ".join(sorted(name for name in self.controllers if name))
            raise InvalidArgument(f"runtime handler {handler!r} is not configured; this node has: {known}")
        return self.controllers[handler]

    def controller_of(self, pod: PodSandbox) -> SandboxController:
        """The one that made `pod`; the default one when its handler has left the configuration, so that it can end."""
        return self.controllers.get(pod.runtime_handler, self.controllers[""])
