"""Signals by name and number, as images and people write them (man 7 signal, OCI image-spec StopSignal)."""

from __future__ import annotations

import re
import signal

from core.errdefs import InvalidArgument

_REAL_TIME = re.compile(r"RT(?:MIN(?:\+(?P<up>[0-9]{1,2}))?|MAX(?:-(?P<down>[0-9]{1,2}))?)")
_NUMBER = re.compile(r"[0-9]{1,2}")


def number_of(name: str) -> int:
    """`SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`. Raises InvalidArgument for what no process can be sent."""
    short = name.upper().removeprefix("SIG")
    if match := _REAL_TIME.fullmatch(short):
        up, down = match.groups(default="0")
        found = signal.SIGRTMIN + int(up) if short.startswith("RTMIN") else signal.SIGRTMAX - int(down)
        valid = signal.SIGRTMIN <= found <= signal.SIGRTMAX
    elif _NUMBER.fullmatch(name):
        found = int(name)
        valid = found in signal.valid_signals()
    else:
        found = getattr(signal.Signals.__members__.get(f"SIG{short}"), "value", 0)
        valid = found > 0
    if not valid:
        raise InvalidArgument(f"signal {name[:64]!r}: want a name like SIGTERM or SIGRTMIN+3, or a number of signal(7)")
    return found


def name_of(number: int) -> str:
    """`SIGTERM`, and real-time ones from the nearer end: `SIGRTMIN+3`, `SIGRTMAX-1`. Raises ValueError."""
    middle = signal.SIGRTMAX - 15  # the last 14 count from the end, as kill -l has it
    if signal.SIGRTMIN < number <= middle:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    if middle < number < signal.SIGRTMAX:
        return f"SIGRTMAX-{signal.SIGRTMAX - number}"
    return signal.Signals(number).name
