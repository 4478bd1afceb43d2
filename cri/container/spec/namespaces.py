"""Which namespaces a container joins and which it gets of its own.

Network, IPC and UTS are the sandbox's: the container's options can only repeat what that has, and crictl's users leave
them out. Only more than the sandbox has is refused.
"""

from __future__ import annotations

from core.errdefs import InvalidArgument
from core.oci.runtime import Namespace
from cri import api
from cri.container.spec.source import Source
from cri.user_namespace import UserNamespace, user_namespace

_Modes = api.NamespaceMode


def namespaces(source: Source) -> list[Namespace]:
    """OCI namespaces; one that is not listed is the node's. Raises InvalidArgument."""
    options = source.security.namespace_options
    shared = source.pod.sandbox.namespaces
    for kind, mode in (("network", options.network), ("ipc", options.ipc)):
        if mode not in (_Modes.POD, _Modes.NODE):
            raise InvalidArgument(f"namespace_options.{kind}: a container's is POD, which is the sandbox's, or NODE")
        if mode == _Modes.NODE and kind in shared:
            raise InvalidArgument(f"namespace_options.{kind}: NODE, but the sandbox has its own")
    if options.HasField("userns_options") and user_namespace(options) != _users_of_pod(source):
        raise InvalidArgument("namespace_options.userns_options: not the same as the sandbox's")
    joined = [_join(kind, shared[kind]) for kind in ("network", "ipc", "uts", "user") if kind in shared]
    own = [Namespace(type="mount")]
    if not source.facts.layout.controllers and not source.security.privileged:
        own.append(Namespace(type="cgroup"))
    return [*own, *joined, *_pid(source)]


def _users_of_pod(source: Source) -> UserNamespace | None:
    return user_namespace(source.pod_config.linux.security_context.namespace_options)


def _pid(source: Source) -> list[Namespace]:
    mode = source.security.namespace_options.pid
    pod_mode = source.pod_config.linux.security_context.namespace_options.pid
    path = source.pod.sandbox.namespaces.get("pid")
    if mode == _Modes.TARGET:
        return [_join("pid", f"/proc/{source.target_pid}/ns/pid")]
    if mode not in (_Modes.POD, _Modes.CONTAINER, _Modes.NODE):
        raise InvalidArgument("namespace_options.pid: a container's is POD, CONTAINER, NODE or TARGET")
    if mode == _Modes.NODE and pod_mode != _Modes.NODE:
        raise InvalidArgument("namespace_options.pid: NODE, but the sandbox's is not")
    if mode == _Modes.POD and path:
        return [_join("pid", path)]
    of_node = mode == _Modes.NODE or (mode == _Modes.POD and pod_mode == _Modes.NODE)
    return [] if of_node else [Namespace(type="pid")]


def _join(kind: str, path: str) -> Namespace:
    return Namespace(type=kind, path=path)
