"""Which devices a container gets."""

from __future__ import annotations

from core.oci.devices import ALLOW_ALL, DENY_ALL, allow, devices_below, node_devices
from core.oci.runtime import Device, DeviceRule
from core.oci.user import User
from cri import api
from cri.container.spec.mounts import clean_target
from cri.container.spec.source import Source


def devices(source: Source, user: User, *, own_dev: bool) -> tuple[list[Device], list[DeviceRule]]:
    """Nodes to make and rules of the device cgroup. Raises InvalidArgument.

    Where the handler says so the nodes belong to `user`, so that others than root can open them (KubeVirt needs it).
    Without a /dev of its own (`own_dev`) the container sees the node's, where nothing must be made.
    """
    if source.security.privileged:
        return (node_devices() if own_dev else []), [ALLOW_ALL]
    nodes, rules = [], [DENY_ALL]
    for asked in source.config.devices:
        found = _nodes(asked)
        if source.device_ownership:
            found = [Device(**{**node, "uid": user.uid, "gid": user.gid}) for node in found]
        nodes += found
        rules += [allow(node, asked.permissions or "rwm") for node in found]
    return (nodes if own_dev else []), rules


def _nodes(asked: api.Device) -> list[Device]:
    return devices_below(asked.host_path, clean_target(asked.container_path or asked.host_path, "device"))
