"""Removing a name of a layer, with all that is below it."""

from __future__ import annotations

import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(dir_fd: int, name: bytes) -> None:
    """Remove `name` from the directory, a whole tree included; success when it does not exist.

    One descriptor and no recursion: a layer may nest directories deeper than Python's stack and the descriptor limit.
    Going up by ".." is safe since nobody else is in a tree that is being unpacked.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        _remove_tree(dir_fd, name)


def _remove_tree(dir_fd: int, name: bytes) -> None:
    here = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    way = [(name, _unlink_files(here))]  # each directory from `name` to `here`, with subdirectories still to be done
    while way:
        if way[-1][1]:
            inner = way[-1][1].pop()
            here = _step(here, inner)
            way.append((inner, _unlink_files(here)))
        else:
            here = _step(here, b"..")
            os.rmdir(way.pop()[0], dir_fd=here)
    os.close(here)


def _step(here: int, name: bytes) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=here)
    finally:
        os.close(here)


def _unlink_files(fd: int) -> list[bytes]:
    """Unlink what is no directory and return the names of the directories."""
    directories = []
    with os.scandir(fd) as entries:
        names = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        if is_directory:
            directories.append(name)
        else:
            os.unlink(name, dir_fd=fd)
    return directories
