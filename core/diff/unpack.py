"""Zygote job "unpack": one layer, from compressed bytes into a directory, in a process of its own.

    args  {"mode": "stacked" | "copied" | "base"}             whiteouts.Mode
    fds   layer file, target directory[, pipe of offsets]     source.GrowingFile
    →     {"diff_id": digest of the uncompressed stream, "read": compressed bytes,
           "size": bytes on disk, "inodes": count, "unsettled": run job "settle" before the snapshot is committed}

The process makes the target directory its root before it reads the first byte of the layer, and gives up what it does
not need: whatever a layer can do to our parsers, it does to an empty room. Raises DataLoss (broken compression or
archive), InvalidArgument (an entry that is not allowed), ResourceExhausted (disk full).

A killed job leaves a part of the layer in the target; the snapshot is not committed then, and its owner removes it.
"""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.diff.apply import apply
from core.diff.compression import decompress
from core.diff.readahead import ReadAhead
from core.diff.source import File, GrowingFile
from core.diff.tar import TarReader
from core.diff.whiteouts import Mode
from core.linux.cap import capset

MAX_FILES = 1024  # descriptors: an overlay's 500 layers twice, in "settle"; "unpack" needs the directory cache
NICE = 10  # a layer can wait, and the daemon's answers cannot: both run in crispd's share of the processors
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",  # set-id bits survive writing
    "CAP_MKNOD",
    "CAP_SETFCAP",  # security.capability
)
_TRUSTED_XATTRS = "CAP_SYS_ADMIN"  # trusted.*: opaque directories and the marks for `settle`


def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Callable[..., object] | None = None) -> dict[str, Any]:
    """The job; this process has nothing else to do afterwards. `report` is not used: the pipe tells the progress."""
    mode = Mode(args["mode"])
    source = GrowingFile(fds[0], fds[2]) if len(fds) > 2 else File(fds[0])
    enter(fds[1], mode)
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    return unpack(source, root_fd, mode)


def enter(directory_fd: int, mode: Mode) -> None:
    """Make `directory_fd` this process's root and drop the rights and resources that unpacking does not need."""
    os.fchdir(directory_fd)
    os.chroot(".")
    os.umask(0)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
    kept = (*CAPABILITIES, _TRUSTED_XATTRS) if mode is Mode.STACKED else CAPABILITIES
    capset(effective=kept, permitted=kept)


def unpack(source: File | GrowingFile, root_fd: int, mode: Mode) -> dict[str, Any]:
    """Unpack the layer that `source` yields below `root_fd`; see the module for the result and what is raised."""
    hashed = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in decompress(source):
            hashed.update(piece)
            yield piece

    with ReadAhead(pieces) as pull:
        reader = TarReader(pull)
        applied = apply(reader, root_fd, mode)
        reader.drain()
    return {
        "diff_id": f"sha256:{hashed.hexdigest()}",
        "read": source.position,
        "size": applied.size,
        "inodes": applied.inodes,
        "unsettled": applied.unsettled,
    }
