"""SIGHUP: what of the configuration can change while crispd runs, and what waits for a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from core.errdefs import CrispError
from core.log import configure, get_logger
from cri.config.config import Config

log = get_logger(__name__)

LIVE = frozenset({"log.level", "log.format"})
"""Keys that a reload changes. Registries and networks need none: their files are read when needed, or watched."""


def reload(current: Config, read: Callable[[], Config]) -> Config:
    """Read the configuration again and do what it says anew; return what is in force from now on.

    One that is wrong changes nothing. Both that, and what waits for a restart, is logged.
    """
    try:
        fresh = read()
    except (CrispError, OSError) as exc:
        log.error("configuration not reloaded", error=exc)
        return current
    waiting = sorted(set(different(current, fresh)) - LIVE)
    if waiting:
        log.warning("changed keys wait for a restart", keys=",".join(waiting))
    configure(fresh.log.level, fresh.log.format)
    log.info("configuration reloaded")
    return msgspec.structs.replace(current, log=fresh.log)


def different(before: Config, after: Config) -> Iterator[str]:
    """The dotted names of all keys whose values differ."""
    return _different(msgspec.to_builtins(before), msgspec.to_builtins(after), "")


def _different(before: Mapping[str, Any], after: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _different(old, new, f"{where}{key}.")
        elif old != new:
            yield f"{where}{key}"
