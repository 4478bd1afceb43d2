"""Annotations of the OCI spec: ours, and those that the runtime handler lets through.

Nothing else of the pod's reaches the OCI runtime, which obeys some (CVE-2024-3154); nothing at all of the image's.
"""

from __future__ import annotations

import fnmatch

from cri.container.spec.source import Source


def spec_annotations(source: Source) -> dict[str, str]:
    metadata = source.pod_config.metadata
    passed = {
        key: value
        for key, value in source.pod_config.annotations.items()
        if any(fnmatch.fnmatchcase(key, pattern) for pattern in source.pod_annotations)
    }
    return {
        **passed,
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": source.config.metadata.name,
        "io.kubernetes.cri.image-name": source.config.image.image,
        "io.kubernetes.cri.sandbox-id": source.pod.id,
        "io.kubernetes.cri.sandbox-name": metadata.name,
        "io.kubernetes.cri.sandbox-namespace": metadata.namespace,
        "io.kubernetes.cri.sandbox-uid": metadata.uid,
    }
