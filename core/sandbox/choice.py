"""Pods with a root container for the handlers that want one, pinned namespaces for all others."""

from __future__ import annotations

from collections.abc import Mapping

from core.sandbox.controller import Sandbox, SandboxController, SandboxSpec
from core.sandbox.handlers import find_runtime
from core.sandbox.pause import PauseController
from core.sandbox.pinned import PinnedController
from core.shims.bundle import Runtime


class ChosenController:
    """A new pod goes where its handler says, and stays with whom it is, whatever the configuration says later."""

    def __init__(self, pinned: PinnedController, pause: PauseController, runtimes: Mapping[str, Runtime]) -> None:
        """`runtimes` by runtime handler; "" is the default one."""
        self._pinned = pinned
        self._pause = pause
        self._runtimes = runtimes

    async def start(self, spec: SandboxSpec) -> Sandbox:
        runtime = find_runtime(self._runtimes, spec.runtime_handler)
        return await (self._pause if runtime.infra_image else self._pinned).start(spec)

    async def alive(self, sandbox_id: str) -> bool:
        return await self._of(sandbox_id).alive(sandbox_id)

    async def stop(self, sandbox_id: str) -> None:
        await self._of(sandbox_id).stop(sandbox_id)

    async def remove(self, sandbox_id: str) -> None:
        await self._of(sandbox_id).remove(sandbox_id)

    async def list(self) -> list[str]:
        return list({*await self._pinned.list(), *await self._pause.list()})

    def _of(self, sandbox_id: str) -> SandboxController:
        return self._pause if self._pause.holds(sandbox_id) else self._pinned


_fits: type[SandboxController] = ChosenController
