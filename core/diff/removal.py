"""Removing a name of a layer, with all that is below it."""

from __future__ import annotations

import os

from core.files.dirs import remove_tree


def remove(dir_fd: int, name: bytes) -> None:
    """Remove `name` from the directory, a whole tree included; success when absent. Changes the working directory."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        os.fchdir(dir_fd)
        remove_tree(os.fsdecode(name))
