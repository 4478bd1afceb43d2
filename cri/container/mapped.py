"""What a container of a pod with its own user namespace needs mounted for the namespace's users."""

from __future__ import annotations

from collections.abc import Sequence

from core.errdefs import InvalidArgument
from core.linux.mount import MS_PRIVATE, MS_SHARED, MS_SLAVE
from core.sandbox.controller import IdMapping
from cri import api
from cri.container.bundles import Bundles, MappedUsers
from cri.container.spec.source import Source
from cri.store.sandbox import PodSandbox
from cri.user_namespace import user_namespace

_PROPAGATION = {
    api.MountPropagation.PROPAGATION_PRIVATE: MS_PRIVATE,
    api.MountPropagation.PROPAGATION_HOST_TO_CONTAINER: MS_SLAVE,
    api.MountPropagation.PROPAGATION_BIDIRECTIONAL: MS_SHARED,
}


def mapped_users(pod: PodSandbox) -> MappedUsers | None:
    """None when the pod's users are the node's."""
    users = user_namespace(pod.request().linux.security_context.namespace_options)
    return MappedUsers(namespace=pod.sandbox.namespaces["user"], root=users.root) if users else None


def map_volumes(bundles: Bundles, source: Source) -> dict[str, str]:
    """Mount what is to be mapped; return where, by `container_path`. The bundle's removal undoes it.

    Raises InvalidArgument when the mappings are not the pod's, FailedPrecondition when the filesystem cannot map users.
    """
    users = mapped_users(source.pod)
    found = {}
    for mount in source.config.mounts:
        if mount.uidMappings or mount.gidMappings:
            if users is None or not _of_pod(source, mount):
                raise InvalidArgument(f"mount {mount.container_path[:160]!r}: its mappings are not the pod's")
            found[mount.container_path] = bundles.map_volume(
                source.container_id, source.paths[mount.container_path], users, _PROPAGATION[mount.propagation]
            )
    return found


def _of_pod(source: Source, mount: api.Mount) -> bool:
    users = user_namespace(source.pod_config.linux.security_context.namespace_options)
    return users is not None and _lines(mount.uidMappings) == [users.uids] and _lines(mount.gidMappings) == [users.gids]


def _lines(mappings: Sequence[api.IDMapping]) -> list[IdMapping]:
    return [IdMapping(container_id=one.container_id, host_id=one.host_id, length=one.length) for one in mappings]
