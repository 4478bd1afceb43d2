"""What runs on when a shim was killed: its containers, and the init of a shared PID namespace.

The shim is a subreaper, so they are adopted by somebody who knows nothing of them. They are ended through the OCI
runtime, which knows their cgroups, and through the PID namespace, which only they are in: never by a bare pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE

from core.linux.ns import is_pinned
from core.log import get_logger
from core.shims.bundle import Runtime, SandboxDir

log = get_logger(__name__)

DELETE = 10.0  # seconds for `delete --force` of one container: it waits for the kernel to end its processes


async def end_leftovers(directory: SandboxDir, runtime: Runtime) -> None:
    """End everything that a dead shim left running in `directory`'s sandbox. What cannot be ended is logged."""
    for container_id in directory.containers():
        await _delete(runtime, container_id)
    await asyncio.to_thread(end_pid_namespace, directory.namespace("pid"))


async def _delete(runtime: Runtime, container_id: str) -> None:
    command = [runtime.binary, *(["--root", runtime.root] if runtime.root else [])]
    command += [*(["--systemd-cgroup"] if runtime.systemd_cgroup else []), "delete", "--force", container_id]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    except OSError as exc:
        log.error("container of dead shim not ended", container_id=container_id, error=exc)
        return
    try:
        async with asyncio.timeout(DELETE):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        _, said = await process.communicate()
    report = log.error if process.returncode else log.info
    report("container of dead shim ended", container_id=container_id, code=process.returncode, said=said.decode())


def end_pid_namespace(pin: str) -> None:
    """Kill every process in the PID namespace pinned at `pin`, if there is one. Blocks: it walks /proc."""
    if not is_pinned(pin):
        return
    namespace = os.stat(pin).st_ino
    for name in os.listdir("/proc"):
        with contextlib.suppress(ValueError, ProcessLookupError, FileNotFoundError, PermissionError):
            _kill_inside(int(name), namespace)


def _kill_inside(pid: int, namespace: int) -> None:
    """Raises ProcessLookupError or FileNotFoundError when the process is gone, PermissionError when it has capabilities
    that we lack: then it is not a pod's."""
    pidfd = os.pidfd_open(pid)  # first, so that what is looked at is what is killed
    try:
        if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
