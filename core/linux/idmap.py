"""Id-mapped mounts (mount_setattr(2)): files seen, and made, with the ids of a user namespace.

A file of id 0 on disk belongs to the namespace's root as seen through such a mount, and what that root makes there gets
id 0 on disk. So files need not change their owner for each user namespace that they are shown in.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from core.errdefs import FailedPrecondition
from core.linux.fsmount import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    mount_setattr,
    move_mount,
    open_tree,
)
from core.linux.mount import MS_PRIVATE, umount_all


def bind_mapped(source: str, target: str, userns: str, *, propagation: int = MS_PRIVATE) -> None:
    """Bind `source` at `target` with the ids of the namespace pinned at `userns`, `propagation` for all of it.

    What is mounted below `source` comes along as it is. Raises FailedPrecondition when the filesystem cannot do it.
    """
    with contextlib.ExitStack() as opened:
        userns_fd = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, userns_fd)
        tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
        opened.callback(os.close, tree)
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, propagation=propagation)
        try:
            mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            raise FailedPrecondition(f"{source}: its filesystem cannot be shown in a user namespace") from exc
        move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)


def unbind(target: str) -> None:
    """Undo `bind_mapped`, and nothing that is mounted below the source. Success when absent."""
    try:
        mount_setattr(AT_FDCWD, target, AT_RECURSIVE, propagation=MS_PRIVATE)
    except OSError as exc:
        if exc.errno not in {errno.EINVAL, errno.ENOENT}:  # no mount (any more), or nothing at all
            raise
    else:
        umount_all(target)


@contextlib.contextmanager
def mapped(source: str, target: str, userns: str) -> Iterator[str]:
    """`source` as the namespace sees it, at the directory `target` inside the block; `target` itself is gone after."""
    os.makedirs(target, mode=0o700, exist_ok=True)
    try:
        bind_mapped(source, target, userns)
        yield target
    finally:
        umount_all(target)
        os.rmdir(target)
