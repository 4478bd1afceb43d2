"""Resource limits of a container's process: the handler's, and over them those of an annotation that it lets through.

CRI has no field for them.
"""

from __future__ import annotations

from core.oci.rlimits import parse_rlimit
from core.oci.runtime import Rlimit
from cri.container.spec.annotations import passed_annotations
from cri.container.spec.source import Source

ANNOTATION = "ulimits.crisp.io/"
"""Of the pod, with the container's name behind it: `ulimits.crisp.io/app: nofile=1024:4096,core=0`."""


def ulimits(source: Source) -> list[Rlimit]:
    """One of each kind. Raises InvalidArgument."""
    asked = passed_annotations(source).get(ANNOTATION + source.config.metadata.name, "")
    words = [*source.ulimits, *(word.strip() for word in asked.split(",") if word.strip())]
    return list({limit["type"]: limit for limit in map(parse_rlimit, words)}.values())
