"""How large a pod's /dev/shm is: as its handler says, or an annotation that the handler lets through.

CRI has no field for it. What is in there counts as memory of the containers that wrote it.
"""

from __future__ import annotations

from core.errdefs import InvalidArgument
from core.oci.quantity import parse_bytes
from cri import api
from cri.config.config import Runtime
from cri.container.spec.annotations import let_through

ANNOTATIONS = ("shm-size.crisp.io", "shm-size.crio.io", "io.kubernetes.cri-o.ShmSize")
"""Of the pod, like `256Mi`; the first that is there counts. CRI-O's two are what people have in their charts."""
MIN = 4096
"""Bytes: a page. To the kernel 0 is no limit at all (tmpfs(5), size)."""


def shm_size(config: api.PodSandboxConfig, runtime: Runtime) -> int:
    """Bytes. Raises InvalidArgument."""
    asked = dict(let_through(config.annotations, runtime.pod_annotations))
    for name in ANNOTATIONS:
        if name in asked:
            size = parse_bytes(asked[name])
            if size < MIN:
                raise InvalidArgument(f"annotation {name} {asked[name][:64]!r}: want {MIN} bytes or more")
            return size
    return parse_bytes(runtime.shm_size)
