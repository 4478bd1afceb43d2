"""Annotations of the OCI spec: ours, and those that the runtime handler lets through.

Nothing else of the pod's reaches the OCI runtime, which obeys some (CVE-2024-3154); nothing at all of the image's.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping

from cri.container.spec.source import Source

PREFIX = "io.kubernetes.cri."
"""What monitoring agents and other runtimes' shims look for: the names are containerd's."""


def spec_annotations(source: Source) -> dict[str, str]:
    """Those of pod and container that fit the handler's patterns, the container's first; nobody but us sets ours."""
    metadata = source.pod_config.metadata
    return {
        **passed_annotations(source),
        f"{PREFIX}container-type": "container",
        f"{PREFIX}container-name": source.config.metadata.name,
        f"{PREFIX}image-name": source.config.image.user_specified_image or source.config.image.image,
        f"{PREFIX}sandbox-id": source.pod.id,
        f"{PREFIX}sandbox-name": metadata.name,
        f"{PREFIX}sandbox-namespace": metadata.namespace,
        f"{PREFIX}sandbox-uid": metadata.uid,
    }


def passed_annotations(source: Source) -> dict[str, str]:
    """What the handler lets through of the pod's and, over them, of the container's."""
    return {
        **dict(let_through(source.pod_config.annotations, source.pod_annotations)),
        **dict(let_through(source.config.annotations, source.pod_annotations)),
    }


def let_through(annotations: Mapping[str, str], patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those that fit one of `patterns` and are not ours to set."""
    for key, value in annotations.items():
        if not key.startswith(PREFIX) and any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns):
            yield key, value
