"""The zygote: a small process with our code loaded and no threads, that forks a child for each job.

    crispd ── seqpacket socket ──▶ zygote ── fork ──▶ job (unpack, probe)      killed at its deadline
                                          ── fork ──▶ shim, in its own session outlives crispd and zygote

A job is a name from `core.zygote.jobs.JOBS`, arguments (JSON) and file descriptors. Starting Python costs 40 ms and
12 MiB; a fork of the zygote costs 1 to 8 ms and the pages that it writes to: 0.9 MiB to be there, 4.5 for asyncio. What
can hang for seconds (a dead NFS path, a slow umount) or reads hostile bytes (a layer) runs in such a child and never in
the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Progress = Callable[[Mapping[str, Any]], None]


class Zygote(Protocol):
    async def run(
        self,
        job: str,
        args: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        deadline: float,
        progress: Progress | None = None,
    ) -> Mapping[str, Any]:
        """Run `job` in a child to its end and return its result. `fds` stay open on this side.

        `deadline` is seconds from now; then the child is killed and DeadlineExceeded raised. Cancelling kills it too.
        Raises the CrispError that the job raised, Internal when it died without a result, Unavailable when the zygote
        is gone (it is being restarted).
        """

    async def detach(self, job: str, args: Mapping[str, Any], *, fds: Sequence[int] = ()) -> int:
        """Run `job` in a child with a session of its own, which outlives us and the zygote; return its pid.

        The zygote reaps it while it lives, and nobody waits for it here. Raises Unavailable.
        """
