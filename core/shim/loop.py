"""The shim's event loop, made in the zygote: what it consists of is written there once, and not by each shim."""

from __future__ import annotations

import asyncio
import functools
import selectors


class ForkedLoop(asyncio.SelectorEventLoop):
    """A loop without descriptors, for a forked process to make its own.

    It polls with poll(2), since an epoll instance would be one for all processes; a shim has a dozen descriptors.
    """

    def __init__(self) -> None:
        self._own = False
        super().__init__(selectors.PollSelector())

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
