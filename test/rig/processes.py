"""Processes of a node under test: its shims, and the zygote of its daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path


def shim_of(sandbox_id: str) -> int:
    """The pid of the shim that serves a sandbox."""
    return shims_of(sandbox_id)[0]


def shims_of(sandbox_id: str) -> list[int]:
    """The pids of the shims (keepers) of a sandbox: one while it lives, none when it is gone."""
    return _named(sandbox_id, "crisp-shim")


def workers_of(sandbox_id: str) -> list[int]:
    """The pids of the workers of a sandbox: none while its shim sleeps."""
    return _named(sandbox_id, "crisp-worker")


def halt_shim(sandbox_id: str) -> None:
    """Let the shim of a sandbox stand still, with its worker, until `resume_shim`."""
    os.kill(shim_of(sandbox_id), signal.SIGSTOP)  # first: it forks no other then
    for worker in workers_of(sandbox_id):
        os.kill(worker, signal.SIGSTOP)


def resume_shim(sandbox_id: str) -> None:
    """Let them go on."""
    for pid in (*workers_of(sandbox_id), shim_of(sandbox_id)):
        os.kill(pid, signal.SIGCONT)


def _named(sandbox_id: str, name: str) -> list[int]:
    """Forks of a shim show the same title."""
    return [pid for pid, title in _titles() if title == f"crisp-shim {sandbox_id}" and _name(pid) == name]


def zygote_of(daemon: int) -> int | None:
    """The pid of a daemon's zygote; None while there is none."""
    for pid, title in _titles():
        if title == "crisp-zygote" and _parent(pid) == daemon:
            return pid
    return None


def is_running(pid: int) -> bool:
    """False for a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _titles() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            yield int(entry.name), (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
        except OSError:
            continue


def _name(pid: int) -> str:
    """"" when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
