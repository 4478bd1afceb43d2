"""Look at a path that may hang, such as one on a dead NFS server: this process can be killed, or given up.

    args    {"operation": "stat" | "lstat" | "mkdir" | "realpath", "path": …, "mode": for mkdir, default 0755}
    result  {"kind": …, "mode": permission bits, "dev": device number, "rdev": of a device node, "path": …}

`kind` is directory, file, link, block, character, fifo or socket. `path` has no links, except for lstat. mkdir makes
parents, too, and is content with a directory. Raises NotFound, PermissionDenied, FailedPrecondition (no directory).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from core.errdefs import CrispError, FailedPrecondition, Internal, InvalidArgument, NotFound, PermissionDenied
from core.zygote.zygote import Progress

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "character",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def run_job(args: Mapping[str, Any], fds: Sequence[int], report: Progress) -> Mapping[str, Any]:
    operation, path = args["operation"], args["path"]
    if operation not in {"stat", "lstat", "mkdir", "realpath"}:
        raise InvalidArgument(f"probe operation {operation!r}")
    try:
        if operation == "mkdir":
            os.makedirs(path, args.get("mode", 0o755), exist_ok=True)
        return _describe(path, follow=operation != "lstat")
    except OSError as exc:
        raise _error(exc, path) from exc


def _describe(path: str, *, follow: bool) -> Mapping[str, Any]:
    resolved = os.path.realpath(path, strict=True) if follow else path
    status = os.lstat(resolved)
    return {
        "kind": _KINDS[stat.S_IFMT(status.st_mode)],
        "mode": stat.S_IMODE(status.st_mode),
        "dev": status.st_dev,
        "rdev": status.st_rdev,
        "path": resolved,
    }


def _error(exc: OSError, path: str) -> CrispError:
    text = f"{path}: {exc.strerror}"
    match exc:
        case FileNotFoundError():
            return NotFound(text)
        case PermissionError():
            return PermissionDenied(text)
        case NotADirectoryError() | FileExistsError():
            return FailedPrecondition(text)
    return Internal(text)
