"""The end of the node: systemd's last program sends SIGTERM to whatever is left, and waits 90 seconds for it to go.

Before that it has stopped the scopes of containers, or they get the same signal. A shim ends with the last of them, and
the pod's init with the shim; no other SIGTERM is meant for it.
"""

from __future__ import annotations

from core.linux.cgroup import read_file
from core.shim.pod import Pod

_LAST = "systemd-shutdow\n"
"""systemd-shutdown(8), as the kernel cuts names of processes."""


async def leave_with_node(pod: Pod) -> None:
    """Shut down after the last container has exited, if the node does; or else do nothing."""
    if read_file("/proc/1/comm") != _LAST:
        return  # systemd stopping crispd's cgroup must not end pods
    for container in pod.containers.list():
        await container.exited.wait()
    pod.end()
