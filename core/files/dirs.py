"""Directories: made with exact modes, synced, and removed however they have been filled."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator

from core.linux.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

MAX_DEPTH = 64  # directories held open at once; far below any RLIMIT_NOFILE and Python's recursion limit
_BATCH = 4096  # names in memory at once: an image can have millions in one directory

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_dirs(path: str, mode: int) -> None:
    """Make `path` and its missing parents with exactly `mode`, whatever the umask; correct the mode of an old `path`.

    Raises NotADirectoryError when something else, a link included, is at `path`.
    """
    try:
        os.mkdir(path, mode)
    except FileNotFoundError:
        make_dirs(os.path.dirname(path), mode)
        os.mkdir(path, mode)
    except FileExistsError:
        pass
    found = os.lstat(path).st_mode
    if not stat.S_ISDIR(found):
        raise NotADirectoryError(errno.ENOTDIR, "make_dirs: something else is in the way", path)
    if stat.S_IMODE(found) != mode:
        os.chmod(path, mode)


@contextlib.contextmanager
def temporary_dir() -> Iterator[str]:
    """A directory that nobody else enters, below /tmp so that sockets fit in it; removed when the block ends. A crash
    leaves it to whatever tidies /tmp.

    Not tempfile: every shim would pay for what that imports (random reseeds itself after each fork).
    """
    path = f"/tmp/crisp-{os.getpid()}-{os.urandom(16).hex()}"  # noqa: S108 - not to be guessed, and mkdir takes no existing one
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        remove_tree(path)


def fsync_dir(path: str) -> None:
    """Make the names in directory `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove `path` and all below it, a link as a link. Success when absent.

    Never leaves the filesystem: a mount below `path` raises OSError(EBUSY or EXDEV) and its content is not touched.
    Trees of any depth and width take constant memory. A crash leaves a smaller tree, to be removed again.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        parent_fd = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            _remove_dir(parent_fd, name, None, 0)
        else:
            os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    finally:
        os.close(parent_fd)


def _remove_dir(dir_fd: int, name: str, top_fd: int | None, depth: int) -> None:
    """Remove directory `name`. One that lies too deep is moved up into `top_fd`, whose own loop finds it there."""
    if top_fd is not None and depth > MAX_DEPTH:
        os.rename(name, f".{os.urandom(8).hex()}", src_dir_fd=dir_fd, dst_dir_fd=top_fd)
        return
    fd = openat2(dir_fd, name, _OPEN, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
    try:
        _empty(fd, fd if top_fd is None else top_fd, depth)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(fd: int, top_fd: int, depth: int) -> None:
    while True:
        with os.scandir(fd) as entries:
            batch = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in itertools.islice(entries, _BATCH)]
        if not batch:
            return
        for name, is_directory in batch:
            with contextlib.suppress(FileNotFoundError):
                if is_directory:
                    _remove_dir(fd, name, top_fd, depth + 1)
                else:
                    os.unlink(name, dir_fd=fd)
