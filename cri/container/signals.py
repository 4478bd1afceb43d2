"""Signals by name: as images write them, as CRI numbers them, as the kernel does."""

from __future__ import annotations

import re
import signal
from typing import cast

from core.errdefs import InvalidArgument
from cri import api

_REAL_TIME = re.compile(r"RTMIN(?:\+(\d{1,2}))?|RTMAX(?:-(\d{1,2}))?")


def signal_number(wanted: api.Signal, of_image: str) -> int:
    """The stop signal: CRI's, else the image's, else SIGTERM. Raises InvalidArgument for an image's nonsense."""
    if wanted != api.Signal.SIGNAL_RUNTIME_DEFAULT:
        name = api.Signal.Name(wanted).removeprefix("SIGNAL_")
        return parse(name.replace("PLUS", "+").replace("MINUS", "-"))
    return parse(of_image) if of_image else signal.SIGTERM


def parse(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Raises InvalidArgument."""
    if name.isascii() and name.isdigit() and 0 < int(name[:3]) <= signal.SIGRTMAX:
        return int(name)
    short = name.upper().removeprefix("SIG")
    if match := _REAL_TIME.fullmatch(short):
        up, down = match.groups(default="0")
        return signal.SIGRTMIN + int(up) if short.startswith("RTMIN") else signal.SIGRTMAX - int(down)
    try:
        return signal.Signals[f"SIG{short}"]
    except KeyError:
        raise InvalidArgument(f"stop signal {name[:64]!r} is not known") from None


def signal_of(number: int) -> api.Signal:
    """CRI's name for a signal, SIGNAL_RUNTIME_DEFAULT when it has none."""
    if number > signal.SIGRTMIN:
        name = f"SIGRTMINPLUS{number - signal.SIGRTMIN}"
    elif number == signal.SIGRTMIN:
        name = "SIGRTMIN"
    else:
        name = signal.Signals(number).name
    values = api.Signal.DESCRIPTOR.values_by_name
    found = values.get(f"SIGNAL_{name}")
    return cast("api.Signal", found.number) if found else api.Signal.SIGNAL_RUNTIME_DEFAULT
