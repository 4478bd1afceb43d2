"""Which of an index's manifests runs here (OCI image-spec, image-index.md; variants as in Go's GOARM and GOARM64)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from core.errdefs import NotFound
from core.types import Descriptor, Platform

_MACHINES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "x86_64": ("amd64", ""),
        "aarch64": ("arm64", ""),
        "armv8l": ("arm", "v8"),
        "armv7l": ("arm", "v7"),
        "armv6l": ("arm", "v6"),
        "i686": ("386", ""),
        "ppc64le": ("ppc64le", ""),
        "s390x": ("s390x", ""),
        "riscv64": ("riscv64", ""),
    }
)
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}  # what a missing variant means
_ARM = ("v8", "v7", "v6", "v5")  # each runs the code of those behind it
_UNKNOWN = "unknown"  # of what is no image, such as a build attestation


def host_platform() -> Platform:
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def candidates(descriptors: Iterable[Descriptor], wanted: Platform) -> list[Descriptor]:
    """Those that can run on `wanted`, the best first; those that do not say come last. Raises NotFound for none."""
    runnable = _runnable(wanted)
    ranked: list[tuple[int, Descriptor]] = []
    offered: list[str] = []
    for descriptor in descriptors:
        if descriptor.platform is None:
            ranked.append((len(runnable), descriptor))
            continue
        offered.append(_text(descriptor.platform))
        key = _normal(descriptor.platform)
        if descriptor.platform.os == wanted.os and key in runnable:
            ranked.append((runnable.index(key), descriptor))
    if not ranked:
        some = ", ".join(name for name in dict.fromkeys(offered) if not name.startswith(_UNKNOWN)) or "none"
        raise NotFound(f"no manifest for {_text(wanted)}; there is: {some[:400]}")
    return [descriptor for _, descriptor in sorted(ranked, key=lambda pair: pair[0])]


def _runnable(wanted: Platform) -> list[tuple[str, str]]:
    """Architectures and variants that a machine like `wanted` runs, the best first."""
    own = _normal(wanted)
    architecture, variant = own
    if architecture == "amd64":
        return [own, ("386", "")]
    if architecture == "arm64":
        return [own, *(("arm", older) for older in _ARM)]
    if architecture == "arm" and variant in _ARM:
        return [("arm", older) for older in _ARM[_ARM.index(variant) :]]
    return [own]


def _normal(platform: Platform) -> tuple[str, str]:
    return platform.architecture, platform.variant or _DEFAULT_VARIANT.get(platform.architecture, "")


def _text(platform: Platform) -> str:
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))
