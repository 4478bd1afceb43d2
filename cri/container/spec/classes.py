"""RDT and block I/O classes, which CRI has no fields for: pods name them in annotations, under the names that both
peers know. The container's own annotation counts most, then the pod's for that container, then the pod's for all."""

from __future__ import annotations

from typing import Any

from core.errdefs import InvalidArgument
from core.oci.blockio import blockio_of_class
from core.oci.rdt import rdt_of_class
from cri.container.spec.resources import has_controller
from cri.container.spec.source import Source

RDT = ("io.kubernetes.cri.rdt-class", "rdt.resources.beta.kubernetes.io/")
BLOCKIO = ("io.kubernetes.cri.blockio-class", "blockio.resources.beta.kubernetes.io/")


def class_of(source: Source, kind: tuple[str, str]) -> str:
    """"" for none."""
    own, prefix = kind
    pods = source.pod_config.annotations
    for place, key in (
        (source.config.annotations, own),
        (pods, f"{prefix}container.{source.config.metadata.name}"),
        (pods, f"{prefix}pod"),
    ):
        if key in place:
            return place[key]
    return ""


def rdt(source: Source) -> dict[str, Any]:
    """OCI's linux.intelRdt, empty for no class. Raises InvalidArgument where the node has none, or not this one."""
    name = class_of(source, RDT)
    return rdt_of_class(name) if name else {}


def blockio(source: Source) -> dict[str, Any]:
    """OCI's linux.resources.blockIO, as `rdt`."""
    name = class_of(source, BLOCKIO)
    return named_blockio(source, name) if name else {}


def named_blockio(source: Source, name: str) -> dict[str, Any]:
    """Of a class that somebody else names."""
    layout = source.facts.layout
    if not has_controller(layout, "blkio") and not has_controller(layout, "io"):
        raise InvalidArgument(f"blockio class {name[:64]!r}: this node has no cgroup controller for it")
    return blockio_of_class(name, source.blockio_file)
