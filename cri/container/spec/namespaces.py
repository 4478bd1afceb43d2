"""Which namespaces a container joins and which it gets of its own."""

from __future__ import annotations

from core.errdefs import FailedPrecondition, InvalidArgument
from cri import api
from cri.container.spec.source import Document, Source

Modes = api.NamespaceMode


def namespaces(source: Source) -> list[Document]:
    """OCI namespaces. Raises InvalidArgument where container and sandbox disagree."""
    options = source.security.namespace_options
    shared = source.pod.sandbox.namespaces
    own: list[Document] = [{"type": "mount"}]
    for kind, mode in (("network", options.network), ("ipc", options.ipc), ("uts", options.network)):
        if mode == Modes.POD and kind in shared:
            own.append({"type": kind, "path": shared[kind]})
        elif kind != "uts" and (mode == Modes.POD) != (kind in shared):
            raise InvalidArgument(f"namespace_options.{kind}: the container says otherwise than its sandbox")
    own += _pid(source)
    if not source.facts.layout.controllers and not source.security.privileged:
        own.append({"type": "cgroup"})
    return own


def _pid(source: Source) -> list[Document]:
    mode = source.security.namespace_options.pid
    if mode == Modes.NODE:
        return []
    if mode == Modes.CONTAINER:
        return [{"type": "pid"}]
    if mode == Modes.TARGET:
        return [{"type": "pid", "path": f"/proc/{source.target_pid}/ns/pid"}]
    path = source.pod.sandbox.namespaces.get("pid")
    if not path:
        raise FailedPrecondition(f"sandbox {source.pod.id} has no PID namespace to share")
    return [{"type": "pid", "path": path}]
