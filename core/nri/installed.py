"""Plugins that are installed on the node, which we start and end.

    <plugin_dir>/NN-name                     an executable; NN is its index
    <config_dir>/NN-name.conf, name.conf     what it is configured with, the first that is there

A plugin talks on the socket that it is given. When crispd is killed that ends, and so do plugins.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from core.log import get_logger

log = get_logger(__name__)

GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL: what a plugin holds of pods it learns anew when it is started again."""
MAX_CONFIG = 1 << 20
"""Bytes: it travels in one message."""
_KILL_WAIT = 5.0  # seconds until a process that SIGKILL does not end is left to itself
_SOCKET = 3  # the first descriptor after the standard ones, as other runtimes pass it
_FILE = re.compile(r"(?P<index>[0-9]{2})-(?P<base>[A-Za-z0-9_.+-]{1,128})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    path: str
    index: str
    base: str
    config: str


def installed_plugins(plugin_dir: str, config_dir: str) -> Iterator[Installed]:
    """The executables in `plugin_dir`; what has another name than a plugin's is reported. It blocks."""
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(plugin_dir), key=lambda entry: entry.name):
            if not entry.is_file() or not entry.stat().st_mode & stat.S_IXUSR:
                continue
            match = _FILE.fullmatch(entry.name)
            if match is None:
                log.warning("no name of an NRI plugin, which is like 10-name", path=entry.path)
                continue
            config = _config(config_dir, entry.name, match["base"])
            yield Installed(path=entry.path, index=match["index"], base=match["base"], config=config)


def _config(directory: str, *names: str) -> str:
    for name in names:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(directory, f"{name}.conf"), "rb") as file:
            return file.read(MAX_CONFIG).decode("utf-8", "replace")
    return ""


class PluginProcess:
    """A running plugin."""

    def __init__(self, plugin: Installed) -> None:
        """Start it; `socket` is our end of its connection, the caller's to close. Raises OSError."""
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._pid = _spawn(plugin, theirs.fileno())
        self._pidfd = os.pidfd_open(self._pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    async def end(self) -> None:
        """End it with all that it has started. Idempotent."""
        for signum, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, _KILL_WAIT)):
            if self._ended.is_set():
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signum)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), patience)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)  # what it has left behind; the number is ours until it is reaped
        os.waitpid(self._pid, 0)
        self._ended.set()


def _spawn(plugin: Installed, fd: int) -> int:
    environment = {
        "NRI_PLUGIN_NAME": plugin.base,
        "NRI_PLUGIN_IDX": plugin.index,
        "NRI_PLUGIN_SOCKET": str(_SOCKET),
        "PATH": os.defpath,
    }
    return os.posix_spawn(
        plugin.path,
        [plugin.path],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, fd, _SOCKET),
        ],
        setpgroup=0,
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them, and that would be inherited
    )
