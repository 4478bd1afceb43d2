"""Copying trees of image files: inside the kernel, as clones where the filesystem can (man 2 copy_file_range)."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack

from core.linux.openat2 import open_beneath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CHUNK = 1 << 30  # bytes that one copy_file_range(2) is asked for


def copy_tree(source: str, target: str) -> None:
    """Make the empty directory `target` a copy of directory `source`, which nobody changes meanwhile.

    Owners, modes, times, attributes and hard links are kept; links are copied as links and nothing is followed.
    """
    with ExitStack() as opened:
        source_fd, target_fd = _open(source, opened), _open(target, opened)
        linked: dict[int, bytes] = {}  # inode of the source to path in the target, of files with several names
        pending = [b"."]
        while pending:
            path = pending.pop()
            with ExitStack() as inner:
                here = _open_beneath(source_fd, path, inner)
                there = _open_beneath(target_fd, path, inner)
                for name in map(os.fsencode, os.listdir(here)):
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                    inner_path = path + b"/" + name
                    if stat.S_ISDIR(status.st_mode):
                        os.mkdir(name, 0o700, dir_fd=there)
                        pending.append(inner_path)
                    elif status.st_ino in linked:
                        _link(target_fd, linked[status.st_ino], there, name)
                    else:
                        _copy_entry(here, there, name, status)
                        if status.st_nlink > 1:
                            linked[status.st_ino] = inner_path
                copy_attributes(here, there)


def copy_data(source_fd: int, target_fd: int) -> None:
    """Append what is left of `source_fd` to `target_fd`."""
    try:
        while os.copy_file_range(source_fd, target_fd, _CHUNK):
            pass
    except OSError as exc:
        if exc.errno != errno.EXDEV:  # filesystems of two kinds, such as overlayfs and ext4
            raise
        while os.sendfile(target_fd, source_fd, None, _CHUNK):
            pass


def copy_attributes(source_fd: int, target_fd: int) -> None:
    """Owner, mode, times and extended attributes, but for trusted.*: those say how overlayfs stacks the source."""
    status = os.fstat(source_fd)
    os.fchown(target_fd, status.st_uid, status.st_gid)
    os.fchmod(target_fd, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source_fd):
        if not name.startswith("trusted."):
            os.setxattr(target_fd, name, os.getxattr(source_fd, name))
    os.utime(target_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _link(root_fd: int, path: bytes, dir_fd: int, name: bytes) -> None:
    os.link(path, name, src_dir_fd=root_fd, dst_dir_fd=dir_fd, follow_symlinks=False)


def _copy_entry(here: int, there: int, name: bytes, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        with ExitStack() as opened:
            source_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
            opened.callback(os.close, source_fd)
            target_fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=there)
            opened.callback(os.close, target_fd)
            copy_data(source_fd, target_fd)
            copy_attributes(source_fd, target_fd)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=there)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=there)  # a node that we have just made: no link to follow
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=there, follow_symlinks=False)


def _open(path: str, opened: ExitStack) -> int:
    fd = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    opened.callback(os.close, fd)
    return fd


def _open_beneath(root_fd: int, path: bytes, opened: ExitStack) -> int:
    fd = open_beneath(root_fd, os.fsdecode(path), _DIRECTORY)
    opened.callback(os.close, fd)
    return fd
