"""What a node knows of itself from before: who it is, and whether it was booted since."""

from __future__ import annotations

import contextlib
import os
from uuid import uuid4

from core.files.atomic import write_atomic
from core.linux.pidfd import boot_id


def node_id(root: str) -> str:
    """Made once and kept with the content that it stands for."""
    path = os.path.join(root, "uuid")
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        return file.read()
    made = str(uuid4())
    with contextlib.suppress(OSError):  # see rebooted
        write_atomic(path, made.encode())
    return made


def rebooted(root: str) -> bool:
    """Compare the boot with the one that was noted, and note this one."""
    path, now = os.path.join(root, "boot_id"), boot_id().encode()
    try:
        with open(path, "rb") as file:
            before = file.read()
    except FileNotFoundError:
        before = now
    if before != now or not os.path.exists(path):
        with contextlib.suppress(OSError):  # a disk that cannot be written: this node is not ready, but it answers
            write_atomic(path, now)
    return before != now
