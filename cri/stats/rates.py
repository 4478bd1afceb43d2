"""usage_nano_cores: how many cores are in use now, in billionths, from two readings of a counter."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from core.cgroups.usage import Usage

WINDOW = 1_000_000_000
"""Nanoseconds that two readings must be apart: what happens in less says nothing of "now", and two clients that poll
must not halve each other's."""
YOUNG = 300 * 1_000_000_000
"""Nanoseconds of age up to which a container's start counts as its first reading, of zero."""


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """Of one group, at one time."""

    at: int
    """Nanoseconds since the epoch."""
    usage: Usage
    cores: int | None
    """In use, in billionths; None while there is only one reading."""


@dataclass(slots=True)
class Rate:
    """Of one group. Nothing samples in the background: readings are those of whoever asks for stats, so an idle node
    pays nothing and the window is the client's own period."""

    at: int
    """Of the last reading that opened a window, in nanoseconds of a clock that is never set: a rate over a window that
    ntpd has cut short would be none (hazards 3.26). 0 before the first."""
    used: int = 0
    cores: int | None = None

    def update(self, now: int, used: int) -> int | None:
        """Note that the counter reads `used` nanoseconds at `now`; return the rate, None when it is not known yet."""
        window = now - self.at
        if self.at and 0 <= window < WINDOW and self.cores is not None:
            return self.cores
        if not self.at or window <= 0 or used < self.used:  # the first, or the counter was set back
            self.cores = None
        else:
            self.cores = (used - self.used) * 1_000_000_000 // window
        self.at, self.used = now, used
        return self.cores


def first_reading(age: int | None, now: int) -> Rate:
    """Of a group that was made `age` nanoseconds before `now`, None when that is not known. A counter that began long
    ago says little of now."""
    return Rate(at=now - age if age is not None and 0 <= age < YOUNG else 0)
