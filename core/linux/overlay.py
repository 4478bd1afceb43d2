"""Overlay mounts of more layers than the page that mount(2) takes its options in.

Linux 6.7 and later take the layers one by one (`lowerdir+`, Documentation/filesystems/overlayfs.rst, "Adding lower
layers"). Before that each layer is opened and named by its descriptor, which is short enough for 200 of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence

from core.linux.fsmount import (
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    MOVE_MOUNT_F_EMPTY_PATH,
    fsconfig,
    fsmount,
    fsopen,
    move_mount,
)

_LAYERS = "lowerdir="
_COLON = re.compile(r"(?<!\\):")
_ESCAPED = re.compile(r"\\(.)")


def mount_by_layer(options: Sequence[str], target: str, attr_flags: int = 0) -> None:
    """Mount an overlay of `options`, as they are for mount(2), at `target`. OSError(EINVAL) on Linux before 6.7."""
    with contextlib.ExitStack() as opened:
        fs_fd = fsopen("overlay")
        opened.callback(os.close, fs_fd)
        fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", "overlay")
        for key, value in _settings(options):
            fsconfig(fs_fd, FSCONFIG_SET_STRING if value else FSCONFIG_SET_FLAG, key, value)
        fsconfig(fs_fd, FSCONFIG_CMD_CREATE)
        mount_fd = fsmount(fs_fd, attr_flags=attr_flags)
        opened.callback(os.close, mount_fd)
        move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)


@contextlib.contextmanager
def layers_by_descriptor(options: Sequence[str]) -> Iterator[list[str]]:
    """The same options with each lower directory named /proc/self/fd/<n>; good inside the block."""
    with contextlib.ExitStack() as opened:
        yield [_by_descriptor(option, opened) if option.startswith(_LAYERS) else option for option in options]


def is_unsupported(exc: OSError) -> bool:
    """Whether `mount_by_layer` failed on an old kernel (or on wrong options, which is EINVAL, too)."""
    return exc.errno in {errno.EINVAL, errno.ENOSYS}


def _settings(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    for option in options:
        if option.startswith(_LAYERS):
            yield from (("lowerdir+", layer) for layer in _layers(option))
        else:
            key, _, value = option.partition("=")
            yield key, value


def _layers(option: str) -> list[str]:
    return [_ESCAPED.sub(r"\1", layer) for layer in _COLON.split(option.removeprefix(_LAYERS))]


def _by_descriptor(option: str, opened: contextlib.ExitStack) -> str:
    names = []
    for layer in _layers(option):
        fd = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, fd)
        names.append(f"/proc/self/fd/{fd}")
    return _LAYERS + ":".join(names)
