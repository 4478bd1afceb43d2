"""The shim's process: from the fork to ShutdownSandbox.

It owns the processes of one pod, whoever else lives or dies: crispd may be killed, upgraded and started again, and
finds it at its socket. What a successor of crispd needs lies in files: the shim's identity, exit records, logs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import socket
from collections.abc import Coroutine, Sequence
from typing import Any

import setproctitle

from core.linux import prctl
from core.linux.cgroup import write_file
from core.shim.keeper import Keeper
from core.shim.keeper_rehearsal import rehearse_keeper
from core.shim.link import KeeperLink
from core.shim.loop import prepared
from core.shim.pod import Place
from core.shim.rehearsal import rehearse
from core.shim.serve import resume, serve

OOM_SCORE = -998
"""As both peers: nothing of the node but crispd itself shall outlive a pod's shim."""


def run_job(arguments: int, fds: Sequence[int]) -> int:
    """The zygote's job `shim`: arguments `id`, `dir`, `events`, `namespace`, `quiet`; fds: the listening socket.

    This process becomes the pod's keeper, until its worker is told to shut down.
    """
    return Keeper().keep(_begin, _resume, (arguments, *fds))


def _begin(control: socket.socket, fds: Sequence[int]) -> None:
    arguments, listener = fds
    with open(arguments, "rb") as file:
        place = Place(**json.loads(file.readline()))
    link = KeeperLink(control)
    link.name(place.id)
    for process in ("self", link.pid):
        spare(OOM_SCORE, process)
    _run(serve(place, socket.socket(fileno=listener), link))


def _resume(control: socket.socket, fds: Sequence[int]) -> None:
    _run(resume(fds, KeeperLink(control)))


def _run(work: Coroutine[Any, Any, None]) -> None:
    prctl.set_thp_disable(False)  # inherited by containers, which shall have their huge pages
    loop = prepared()
    loop.own()
    loop.run_until_complete(work)


def warm_up() -> None:
    """For the zygote, before it forks."""
    rehearse(serve)
    rehearse_keeper()
    prepared()


def become_shim(sandbox_id: str, oom_score: int) -> None:
    """Be a shim without keeper: its name, subreaper, OOM score, signals."""
    gc.disable()
    gc.freeze()
    setproctitle.setproctitle(f"crisp-shim {sandbox_id}")
    prctl.set_name("crisp-shim")
    prctl.set_child_subreaper()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until there is something to end
    spare(oom_score)


def spare(oom_score: int, process: int | str = "self") -> None:
    """Set the oom_score_adj of a process, if that is allowed."""
    with contextlib.suppress(PermissionError):
        write_file(f"/proc/{process}/oom_score_adj", str(oom_score))
