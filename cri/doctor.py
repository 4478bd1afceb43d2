"""What is wrong on this node and what helps, for `crispctl doctor`; what has no owner is undone on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from core.errdefs import Unavailable
from cri import api
from cri.calls import Calls
from cri.container.deps import ContainerDeps
from cri.sandbox.connections import find_disconnected
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.sweep import Leftovers, find_leftovers_now, sweep

PATIENCE = 5.0
"""Seconds for what is being made to be there: a hundred times what a pod takes."""
CHECKING = 20.0
"""Seconds for the plugins of all pods together: they take some 10 ms a pod, and crispctl waits."""
_REPAIR = "crispctl doctor --repair undoes it"
_ASIDE = ".corrupt-"
"""In the names of files that were set aside because they made no sense."""


class Doctor:
    """Serves crisp.doctor.v1.Doctor."""

    def __init__(
        self,
        *,
        sandboxes: SandboxDeps,
        containers: ContainerDeps,
        calls: Calls,
        problems: Callable[[], Mapping[str, str]],
        served: Callable[[str], bool],
        root: str,
    ) -> None:
        """`problems` keep pods from running, part to reason; `served` tells whether a sandbox's shim runs; damaged
        files are set aside in `root`."""
        self._sandboxes = sandboxes
        self._containers = containers
        self._calls = calls
        self._problems = problems
        self._served = served
        self._root = root

    async def examine(self, request: api.ExamineRequest) -> api.ExamineResponse:
        findings = [*self._degraded(), *self._lost(), *self._slow(), *self._aside()]
        findings += await self._disconnected()
        try:
            findings += await self._leftovers(repair=request.repair)
        except Unavailable as exc:
            findings.append(api.Finding(kind="slow", subject="requests", text=str(exc), remedy="ask again"))
        return api.ExamineResponse(findings=findings)

    def _degraded(self) -> Iterator[api.Finding]:
        for part, reason in self._problems().items():
            remedy = "mend it; the daemon looks again every 10 s"
            yield api.Finding(kind="degraded", subject=part, text=f"{reason}: no pod can start", remedy=remedy)
        network = self._sandboxes.network.status()
        if not network.ready:
            yield api.Finding(
                kind="degraded",
                subject="network",
                text=f"{network.message}: only pods in the node's network can start",
                remedy="install a network plugin, which the daemon notices by itself",
            )

    def _lost(self) -> Iterator[api.Finding]:
        """Pods and containers whose shim is not there, or says nothing."""
        for pod in self._sandboxes.sandboxes.list():
            if not pod.stopped and not self._served(pod.id):
                text = f"pod {pod.name} is ready, and no shim of it runs or answers"
                yield api.Finding(kind="lost", subject=f"sandbox {pod.id}", text=text, remedy=_force(pod.id))
        for container in self._containers.containers.list():
            if container.lost:
                text = f"the shim of {container.name} does not answer: its state is not known"
                remedy = f"wait, or {_force(container.sandbox_id)}"
                yield api.Finding(kind="lost", subject=f"container {container.id}", text=text, remedy=remedy)

    async def _disconnected(self) -> list[api.Finding]:
        found = await find_disconnected(self._sandboxes, CHECKING)
        remedy = "delete the pod, or mend its network"
        return [
            api.Finding(kind="disconnected", subject=f"sandbox {id_}", text=problem, remedy=remedy)
            for id_, problem in found.items()
        ]

    def _slow(self) -> Iterator[api.Finding]:
        for call in self._calls.under_way():
            what = f"{call.name} goes on for {call.seconds():.0f} s: {call.slowest() or 'at no step'}"
            yield api.Finding(kind="slow", subject=call.name, text=what, remedy="mend what that step waits for")

    def _aside(self) -> Iterator[api.Finding]:
        for name in sorted(os.listdir(self._root)):
            if _ASIDE in name:
                path = os.path.join(self._root, name)
                text, remedy = "set aside since it made no sense", f"rm {path}, when nobody wants to look at it"
                yield api.Finding(kind="aside", subject=path, text=text, remedy=remedy)

    async def _leftovers(self, *, repair: bool) -> list[api.Finding]:
        found = await find_leftovers_now(self._sandboxes, self._containers, PATIENCE)
        before = dict(_described(found))
        if not repair or not found:
            return [_leftover(subject, text) for subject, text in before.items()]
        await sweep(self._sandboxes, self._containers, found)
        after = dict(_described(await find_leftovers_now(self._sandboxes, self._containers, PATIENCE)))
        return [_leftover(subject, text, repaired=subject not in after) for subject, text in before.items()]


def _described(found: Leftovers) -> Iterator[tuple[str, str]]:
    """Subject and text of each."""
    for id_ in found.sandboxes:
        yield f"sandbox {id_}", "a shim, namespaces or a directory without a record"
    for id_ in found.bundles:
        yield f"container {id_}", "mounts, a snapshot, volumes or a directory without a record"
    for id_ in found.files:
        yield f"files of sandbox {id_}", "hosts, hostname and resolv.conf of no pod"
    for id_ in found.attached:
        yield f"network of sandbox {id_}", "an address or a link of no pod that runs; its removal is tried again"


def _leftover(subject: str, text: str, *, repaired: bool = False) -> api.Finding:
    remedy = "" if repaired else _REPAIR
    return api.Finding(kind="leftover", subject=subject, text=text, remedy=remedy, repaired=repaired)


def _force(pod: str) -> str:
    return f"crispctl rmp --force {pod[:13]} ends it"
