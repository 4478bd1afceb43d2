"""What an image must not have where the OCI runtime mounts its own.

Nothing of the container runs yet, so what is found here is what the OCI runtime will find.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from cri.container.spec.mounts import clean_path

MAX_LINKS = 40
"""On the way to one path, as the kernel has it (path_resolution(7))."""

_OF_RUNTIME = ("dev", "proc", "sys")
_HARMLESS = "/dev/shm"  # noqa: S108 - /run/shm of older distributions leads there


def refuse_links(rootfs: str) -> None:
    """Raises InvalidArgument when a place of the runtime's is a link: runc before 1.3.6 makes /dev/ptmx wherever /dev
    leads, on the node too (CVE-2026-41579), and older ones took a false /proc for the real one (CVE-2019-19921)."""
    for name in _OF_RUNTIME:
        if os.path.islink(os.path.join(rootfs, name)):
            raise InvalidArgument(f"image: /{name} is a link, and the OCI runtime's place")


def refuse_detours(rootfs: str, targets: Iterable[str]) -> None:
    """Raises InvalidArgument when links of the image lead one of `targets` to a place of the runtime's.

    crun 1.8 and runc before 1.2.8 mount there: a volume, or just /etc/hosts, over /proc/self/attr, and the container
    runs unconfined, since the runtime writes the profile into that (CVE-2019-16884, CVE-2023-28642, CVE-2025-52881).
    Whoever says such a place plainly is judged elsewhere.
    """
    for target in targets:
        if clean_path(target).split("/")[1] in _OF_RUNTIME:
            continue
        place = _place_of_runtime(rootfs, target)
        if place and place != _HARMLESS:
            raise InvalidArgument(f"image: links lead {target[:160]} to {place[:160]}, a place of the OCI runtime's")


def _place_of_runtime(rootfs: str, target: str) -> str:
    """What `target` leads to, or through, of the runtime's; "" for a place of the image's own."""
    done: list[str] = []
    left = target.split("/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            del done[-1:]
        elif name in ("", "."):
            continue
        elif not done and name in _OF_RUNTIME:
            return os.path.join("/", name, *reversed(left))
        elif (link := _link(os.path.join(rootfs, *done, name))) is None:
            done.append(name)
        else:
            links += 1
            if links > MAX_LINKS:
                raise InvalidArgument(f"image: links lead {target[:160]} nowhere")
            done = [] if link.startswith("/") else done
            left += link.split("/")[::-1]
    return ""


def _link(path: str) -> str | None:
    """What a link says, None for anything else, or nothing."""
    try:
        return os.readlink(path)
    except OSError:
        return None
