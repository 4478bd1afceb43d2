"""Annotations of a pod's root container: who the pod is, for shims of other runtimes, under containerd's names."""

from __future__ import annotations

from collections.abc import Iterable

from cri import api
from cri.container.spec.annotations import PREFIX, let_through


def root_annotations(sandbox_id: str, config: api.PodSandboxConfig, patterns: Iterable[str]) -> dict[str, str]:
    """Ours, and those of the pod that fit the handler's `patterns`. What the pod as a whole may use is among ours: a
    guest's size depends on it."""
    metadata, resources = config.metadata, config.linux.resources
    found = {
        **dict(let_through(config.annotations, patterns)),
        f"{PREFIX}container-type": "sandbox",
        f"{PREFIX}sandbox-id": sandbox_id,
        f"{PREFIX}sandbox-name": metadata.name,
        f"{PREFIX}sandbox-namespace": metadata.namespace,
        f"{PREFIX}sandbox-uid": metadata.uid,
        f"{PREFIX}sandbox-log-directory": config.log_directory,
    }
    if config.linux.HasField("resources"):
        found[f"{PREFIX}sandbox-cpu-period"] = str(resources.cpu_period)
        found[f"{PREFIX}sandbox-cpu-quota"] = str(resources.cpu_quota)
        found[f"{PREFIX}sandbox-cpu-shares"] = str(resources.cpu_shares)
        found[f"{PREFIX}sandbox-memory"] = str(resources.memory_limit_in_bytes)
    return found
