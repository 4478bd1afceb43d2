"""What runs on when a shim was killed: its containers, and the init of a shared PID namespace.

The shim is a subreaper, so they are adopted by somebody who knows nothing of them. They are ended through the OCI
runtime, which knows their cgroups, and through the PID namespace, which only they are in: never by a bare pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Collection

import msgspec

from core.errdefs import CrispError
from core.linux.cgroup import CgroupLayout
from core.linux.ns import is_pinned
from core.linux.pidfd import open_pidfd
from core.log import get_logger
from core.oci.cgroups import end_group
from core.shims.bundle import Runtime, SandboxDir
from core.shims.foreign import ForeignShim

log = get_logger(__name__)

_MAX_COMMAND = 64 << 10  # bytes of a command line; the runtime's are a few hundred
_DEATH = 2.0  # seconds for the kernel to end a process after SIGKILL
DELETE = 10.0  # seconds for `delete --force` of one container: it waits for the kernel to end its processes


async def end_leftovers(directory: SandboxDir, runtime: Runtime, foreign: ForeignShim) -> None:
    """End everything that a dead shim left running in `directory`'s sandbox. What cannot be ended is logged.

    `foreign` is asked where the shim was not ours: its containers need not be an OCI runtime's.
    """
    containers = directory.containers()
    if containers:
        await asyncio.to_thread(end_runtimes, runtime.binary, frozenset(containers))
    for container_id, bundle in containers.items():
        await (_ask(foreign, container_id, bundle) if runtime.shim else _delete(runtime, container_id))
        await _end_group(bundle)
    await asyncio.to_thread(end_pid_namespace, directory.namespace("pid"))


async def _end_group(bundle: str) -> None:
    """A runtime that was killed half way has made a cgroup which it does not remember."""
    try:
        await end_group(CgroupLayout.read(), _cgroup_of(bundle))
    except FileNotFoundError:
        return  # the bundle is gone, and so was the container
    except (CrispError, OSError, msgspec.MsgspecError, LookupError) as exc:
        log.error("cgroup of dead shim's container not ended", bundle=bundle, error=exc)


def _cgroup_of(bundle: str) -> str:
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        path: str = msgspec.json.decode(file.read())["linux"]["cgroupsPath"]
    return path


async def _ask(foreign: ForeignShim, container_id: str, bundle: str) -> None:
    try:
        await foreign.delete(container_id, bundle)
    except CrispError as exc:
        log.error("container of dead shim not ended", container_id=container_id, error=exc)


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


def end_runtimes(binary: str, container_ids: Collection[str]) -> None:
    """Kill each process of the OCI runtime that still works on one of the containers, and wait for its end: it would
    make what the shim asked for when we have looked. Blocks: it walks /proc."""
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if _works_on(pid, binary, container_ids):
                _end(pid, binary, container_ids)


def _works_on(pid: int, binary: str, container_ids: Collection[str]) -> bool:
    with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
        name, *arguments = os.fsdecode(file.read(_MAX_COMMAND)).split("\0")
    return name == binary and not set(arguments).isdisjoint(container_ids)


def _end(pid: int, binary: str, container_ids: Collection[str]) -> None:
    pidfd = open_pidfd(pid)
    try:
        if _works_on(pid, binary, container_ids):  # still: what is looked at is what is killed
            log.warning("runtime of dead shim killed", pid=pid)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(_DEATH * 1000)
    finally:
        os.close(pidfd)


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
    pidfd = open_pidfd(pid)  # first, so that what is looked at is what is killed
    try:
        if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
