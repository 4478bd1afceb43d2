"""The init of a pod whose containers share a PID namespace: it is process 1, reaps, and can do nothing else.

Empty root, no capabilities, no privileges to gain. The namespace ends with it, and it ends with SIGKILL only.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Never

from core.linux import cap, prctl
from core.linux.mount import (
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    mount,
    pivot_root,
    umount2,
)
from core.linux.ns import CLONE_NEWNS, CLONE_NEWPID, setns, unshare
from core.log import get_logger
from core.shim.userns import enter

log = get_logger(__name__)

_FAILED = "the pod's init could not set itself up: see the shim's log"


def start_init(namespaces: tuple[str, ...], root: str, user: str = "") -> int:
    """Fork the init into a new PID namespace and into the pinned `namespaces`; return its pid here.

    `root` is an empty directory that becomes its root. The PID namespace belongs to the user namespace pinned at `user`
    where there is one. The caller's own children stay in the caller's PID namespace.
    """
    with contextlib.ExitStack() as opened:
        fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in namespaces]  # another user cannot
        for fd in fds:
            opened.callback(os.close, fd)
        if user:
            return _start_in_user_namespace(fds, root, user)
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, own)
        opened.callback(setns, own, CLONE_NEWPID)
        return _fork_init(fds, root)


def _start_in_user_namespace(namespaces: Sequence[int], root: str, user: str) -> int:
    """By a child, which enters the user namespace first. The init becomes our child when that one ends: we are its
    subreaper."""
    answer, tell = os.pipe()
    child = os.fork()  # noqa: TID251 - the shim has one thread
    if child == 0:
        try:
            enter(user)
            os.write(tell, str(_fork_init(namespaces, root)).encode())
        except OSError as exc:
            log.error("no init in the pod's user namespace", error=exc)
        finally:
            os._exit(0)
    os.close(tell)
    with open(answer, "rb") as reader:
        pid = int(reader.read() or 0)
    os.waitpid(child, 0)
    if not pid:
        raise OSError(_FAILED)
    return pid


def _fork_init(namespaces: Sequence[int], root: str) -> int:
    """The caller's next children are born in the init's PID namespace, too."""
    ready, told = os.pipe()
    try:
        unshare(CLONE_NEWPID)
        pid = os.fork()  # noqa: TID251 - the shim has one thread
        if pid == 0:
            _be_init(namespaces, root, told)
        os.close(told)
        told = -1
        if not os.read(ready, 1):
            raise OSError(_FAILED)
    finally:
        for fd in (ready, told):
            if fd >= 0:
                os.close(fd)
    return pid


def _be_init(namespaces: Sequence[int], root: str, told: int) -> Never:
    try:
        for fd in namespaces:
            setns(fd)
        prctl.set_name("crisp-init")
        _confine(root)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.write(told, b"1")
        os.closerange(0, 1 << 16)
        while True:
            signal.sigwait([signal.SIGCHLD])
            _reap()
    except OSError as exc:
        log.error("the pod's init cannot set itself up", error=exc)
    finally:
        os._exit(1)


def _confine(root: str) -> None:
    capabilities = range(cap.last_cap() + 1)  # read from /proc, which is out of sight below
    unshare(CLONE_NEWNS)
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount("empty", root, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "size=4k,nr_inodes=2")
    os.chdir(root)
    pivot_root(".", ".")  # pivot_root(2): the old root is stacked on the new one, and taken off
    umount2(".", MNT_DETACH)
    os.chdir("/")
    prctl.set_no_new_privs()
    for number in capabilities:
        prctl.capbset_drop(number)
    cap.capset((), ())


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
