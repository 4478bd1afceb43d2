"""What an image must not have where the OCI runtime mounts its own."""

from __future__ import annotations

import os

from core.errdefs import InvalidArgument

_OF_RUNTIME = ("dev", "proc", "sys")


def refuse_links(rootfs: str) -> None:
    """Raises InvalidArgument when a place of the runtime's is a link: runc before 1.3.6 makes /dev/ptmx wherever /dev
    leads, on the node too (CVE-2026-41579), and older ones took a false /proc for the real one (CVE-2019-19921)."""
    for name in _OF_RUNTIME:
        if os.path.islink(os.path.join(rootfs, name)):
            raise InvalidArgument(f"image: /{name} is a link, and the OCI runtime's place")
