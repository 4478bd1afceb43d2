"""The shim's event loop, made in the zygote: what it consists of is written there once, and not by each shim."""

from __future__ import annotations

import asyncio
import functools
import selectors


class _CountingSelector(selectors.PollSelector):
    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        self.found += len(ready)
        return ready


class ForkedLoop(asyncio.SelectorEventLoop):
    """A loop without descriptors, for a forked process to make its own.

    It polls with poll(2), since an epoll instance would be one for all processes; a shim has a dozen descriptors.
    """

    def __init__(self) -> None:
        self._own = False
        self._counting = _CountingSelector()
        super().__init__(self._counting)

    @property
    def awakenings(self) -> int:
        """How many times descriptors were found ready."""
        return self._counting.found

    def own(self) -> None:
        """Make it one that can run, in this process. Once, after the fork."""
        self._own = True
        self._make_self_pipe()

    def _make_self_pipe(self) -> None:
        """asyncio's, as is the next: the sockets that wake it up."""
        if self._own:
            super()._make_self_pipe()  # type: ignore[misc]  # not in typeshed

    def _close_self_pipe(self) -> None:
        if self._own:
            super()._close_self_pipe()  # type: ignore[misc]


@functools.cache
def prepared() -> ForkedLoop:
    """The one of this process: made by the zygote, run by its fork."""
    return ForkedLoop()
