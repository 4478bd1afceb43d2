"""getrlimit(2), setrlimit(2)."""

from __future__ import annotations

import resource


def raise_open_files(wanted: int) -> int:
    """Let this process open `wanted` files, or as many as the hard limit allows; the soft limit that it had.

    Children inherit it: where containers come from, `limit_open_files` takes it back. A program that uses select(2), or
    closes every descriptor that it could have, must not find a limit that it did not ask for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft


def limit_open_files(soft: int) -> None:
    """Set the soft limit, as far as the hard one allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
