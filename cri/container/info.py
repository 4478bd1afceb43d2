"""What a verbose ContainerStatus tells besides CRI's fields."""

from __future__ import annotations

import json
from collections.abc import Mapping

from core.errdefs import NotFound
from cri.config.config import Runtime
from cri.container.deps import ContainerDeps
from cri.documents import to_dict
from cri.store.container import Container


def container_info(deps: ContainerDeps, container: Container) -> dict[str, object]:
    """The keys that the verbose status of both peers has, since tools read them."""
    try:
        spec = json.loads(deps.bundles.spec(container.id))
    except NotFound:
        spec = None
    pod = deps.sandboxes.find(container.sandbox_id)
    config = container.request()
    return {
        "sandboxID": container.sandbox_id,
        "pid": container.pid,
        "removing": container.id in deps.removing,
        "privileged": config.linux.security_context.privileged,
        "snapshotKey": container.id,
        "snapshotter": deps.bundles.snapshotter(container.id),
        **runtime_info(deps.handlers, pod.runtime_handler if pod else ""),
        "config": to_dict(config),
        "runtimeSpec": spec,
    }


def runtime_info(handlers: Mapping[str, Runtime], name: str) -> dict[str, object]:
    """What runs a pod's containers; nothing is known of a handler that has left the configuration."""
    if name not in handlers:
        return {"runtimeType": "", "runtimeOptions": None}
    runtime = handlers[name]
    options = {"binary_name": runtime.binary, "systemd_cgroup": runtime.systemd_cgroup}
    return {"runtimeType": runtime.type, "runtimeOptions": options}
