"""A pod's namespaces: made by this process, pinned by bind mounts, left again.

    <sandbox dir>/ns/{net,ipc,uts,user,pid}   each a namespace, or an empty file if a crash came in between
    <sandbox dir>/shm                         tmpfs, the pod's /dev/shm

The shim has one thread, so it can enter what it makes, set it up without a helper, and go back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

from core.api.crisp_shim_pb2 import IdMapping
from core.errdefs import InvalidArgument
from core.linux.cgroup import write_file
from core.linux.mount import MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, umount_all
from core.linux.ns import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, pin, setns, unpin, unshare
from core.shim.userns import user_namespace

FLAGS = {"net": CLONE_NEWNET, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS}
"""By the names of /proc/<pid>/ns."""

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sH22x")  # struct ifreq with ifr_flags, netdevice(7)


def make_namespaces(
    directory: str,
    names: list[str],
    hostname: str,
    sysctls: Mapping[str, str],
    *,
    uids: Sequence[IdMapping] = (),
    gids: Sequence[IdMapping] = (),
) -> None:
    """Make and pin the namespaces `names` (keys of FLAGS), with `lo` up, `hostname` and `sysctls` set; with mappings
    also a user namespace, which owns them.

    On failure none is left. Raises OSError, ResourceExhausted, InvalidArgument (a sysctl that the kernel does not have
    or refuses, mappings).
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as undo, _returning(names):
        if uids:
            with user_namespace(_flags(names), uids, gids) as owner:
                _pin(undo, directory, ["user", *names], str(owner))
            for name in names:
                _enter(os.path.join(directory, name), FLAGS[name])
        else:
            unshare(_flags(names))
            _pin(undo, directory, names, "self")
        if "net" in names:
            bring_up("lo")
        if "uts" in names and hostname:
            socket.sethostname(hostname)
        for key, value in sysctls.items():
            _set_sysctl(key, value)
        undo.pop_all()


def _flags(names: list[str]) -> int:
    return sum(FLAGS[name] for name in names)


def _pin(undo: contextlib.ExitStack, directory: str, names: list[str], process: str) -> None:
    for name in names:
        target = os.path.join(directory, name)
        undo.callback(unpin, target)
        pin(f"/proc/{process}/ns/{name}", target)


def _enter(path: str, kind: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, kind)
    os.close(fd)


@contextlib.contextmanager
def _returning(names: list[str]) -> Iterator[None]:
    """Be in the same namespaces as before when the block ends."""
    before = [(os.open(f"/proc/self/ns/{name}", os.O_RDONLY), FLAGS[name]) for name in names]
    try:
        yield
    finally:
        for fd, kind in before:
            setns(fd, kind)
            os.close(fd)


def bring_up(interface: str) -> None:
    """Set an interface of the current network namespace up: one ioctl, no netlink, no exec of a plugin."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        _, flags = _IFREQ.unpack(fcntl.ioctl(handle, _SIOCGIFFLAGS, _IFREQ.pack(interface.encode(), 0)))
        fcntl.ioctl(handle, _SIOCSIFFLAGS, _IFREQ.pack(interface.encode(), flags | _IFF_UP))


def _set_sysctl(key: str, value: str) -> None:
    """sysctl(8); dots separate, and a slash in a name stays a dot there."""
    path = "/proc/sys/" + "/".join(part.replace("/", ".") for part in key.split("."))
    try:
        write_file(path, value)
    except OSError as exc:
        raise InvalidArgument(f"sysctl {key}={value}: {exc.strerror}") from exc


def make_shm(path: str, size: int, uid: int = 0, gid: int = 0) -> None:
    """Mount a tmpfs of `size` bytes at `path`, owned by the node's `uid` and `gid`."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={size},uid={uid},gid={gid}")


def remove_namespaces(directory: str, shm: str) -> None:
    """Unpin everything below `directory` and unmount `shm`. Success when absent."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            unpin(os.path.join(directory, name))
        os.rmdir(directory)
    umount_all(shm, MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(shm)
