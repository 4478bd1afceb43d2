"""Tells when directories change, and also when they appear, go away and come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable

from core.linux import inotify

_BUFFER = 64 << 10  # bytes of events in one read
_CONTENT = (
    inotify.IN_CLOSE_WRITE  # and not IN_MODIFY: a file is read when its writer is done with it
    | inotify.IN_CREATE  # links, which nobody closes
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
    | inotify.IN_DELETE
)
_SELF = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_ONLYDIR


class Watch:
    """Watches the directories of the last `arm`, each by way of its nearest ancestor while it does not exist."""

    def __init__(self) -> None:
        self._fd = inotify.inotify_init1(inotify.IN_CLOEXEC | inotify.IN_NONBLOCK)
        self._watches: set[int] = set()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._drain)

    def arm(self, directories: Iterable[str]) -> None:
        """Watch `directories` (absolute) from now on: a change after this returns is not missed. Raises OSError."""
        watches = {self._add(directory) for directory in directories}
        for gone in self._watches - watches:
            with contextlib.suppress(OSError):  # the kernel has removed it with its directory
                inotify.inotify_rm_watch(self._fd, gone)
        self._watches = watches

    async def wait_changed(self) -> None:
        """Return when something has changed since the last return."""
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _add(self, directory: str) -> int:
        """Watch `directory` or the nearest ancestor that exists; again when it has appeared meanwhile."""
        while True:
            existing = directory
            while not os.path.isdir(existing):
                existing = os.path.dirname(existing)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                watch = inotify.inotify_add_watch(self._fd, existing, _CONTENT | _SELF)
                if existing == directory or not os.path.isdir(_child(existing, directory)):
                    return watch

    def _drain(self) -> None:
        """What the events say does not matter, but that a watch has ended, which `arm` does itself, is no change."""
        events = os.read(self._fd, _BUFFER)
        if any(not mask & inotify.IN_IGNORED for mask in inotify.masks(events)):
            self._changed.set()


def _child(ancestor: str, directory: str) -> str:
    """The directory on the way from `ancestor` to `directory`, one step below `ancestor`."""
    return os.path.join(ancestor, os.path.relpath(directory, ancestor).split("/", 1)[0])
