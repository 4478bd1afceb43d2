"""Whether the zygote still forks; one that hangs is killed, and comes back."""

from __future__ import annotations

from core.errdefs import DeadlineExceeded
from core.log import get_logger
from core.zygote.process import ZygoteProcess

log = get_logger(__name__)

STRIKES = 3
"""Checks in a row without an answer until it is killed with all its jobs: a node under load may be late once."""


class ZygoteWatch:
    def __init__(self, zygote: ZygoteProcess, deadline: float) -> None:
        """`deadline` in seconds, of each check."""
        self._zygote = zygote
        self._deadline = deadline
        self._strikes = 0

    async def check(self) -> str:
        """For `core.health`. Raises what keeps it from forking."""
        try:
            await self._zygote.run("probe", {"operation": "lstat", "path": "/"}, deadline=self._deadline)
        except DeadlineExceeded:
            self._strikes += 1
            if self._strikes >= STRIKES:
                log.error("zygote hangs and is killed")
                self._strikes = 0
                await self._zygote.kill()
            raise
        self._strikes = 0
        return ""
