"""The streams of CRI's containers: `core.tasks.streams.ContainerStreams` for whoever serves clients."""

from __future__ import annotations

from core.errdefs import Internal, InvalidArgument
from core.tasks.streams import ContainerStreams, ExecSpec, ExecStreams, Streams
from cri.container.deps import ContainerDeps
from cri.container.exec_sync import exec_process, running
from cri.container.failures import exec_failure


class CriStreams:
    def __init__(self, deps: ContainerDeps) -> None:
        self._deps = deps

    async def exec(self, container_id: str, spec: ExecSpec) -> ExecStreams:
        container = running(self._deps, container_id)
        if not spec.args:
            raise InvalidArgument("Exec: cmd is empty")
        process = exec_process(self._deps.bundles.spec(container.id), list(spec.args), tty=spec.tty)
        try:
            return await self._deps.tasks.exec(
                container.sandbox_id, container.id, process, stdin=spec.stdin, stdout=spec.stdout, stderr=spec.stderr
            )
        except Internal as exc:
            raise await exec_failure(self._deps, container, spec.args[0], exc) from exc

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Streams:
        container = running(self._deps, container_id)
        return await self._deps.tasks.attach(
            container.sandbox_id, container.id, stdin=stdin, stdout=stdout, stderr=stderr
        )


_fits: type[ContainerStreams] = CriStreams
