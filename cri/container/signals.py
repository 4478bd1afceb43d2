"""The signal that stops a container: CRI's enum, which numbers by alphabet, and the kernel's numbers."""

from __future__ import annotations

import signal
from typing import cast

from core.oci import signals
from cri import api

_RUNTIME_DEFAULT = api.Signal.SIGNAL_RUNTIME_DEFAULT


def signal_number(wanted: api.Signal, of_image: str) -> int:
    """The stop signal: CRI's, else the image's, else SIGTERM. Raises InvalidArgument for an image's nonsense."""
    if wanted != _RUNTIME_DEFAULT:
        return signals.number_of(_plain(api.Signal.Name(wanted)))
    return signals.number_of(of_image) if of_image else signal.SIGTERM


def signal_of(number: int) -> api.Signal:
    """CRI's name for a signal, SIGNAL_RUNTIME_DEFAULT when it has none."""
    return cast("api.Signal", _BY_NUMBER.get(number, _RUNTIME_DEFAULT))


def _plain(name: str) -> str:
    """`SIGNAL_SIGRTMINPLUS3` to `SIGRTMIN+3`."""
    return name.removeprefix("SIGNAL_").replace("PLUS", "+").replace("MINUS", "-")


def _by_number() -> dict[int, int]:
    """Of names for the same signal the one that signal(7) lists first: SIGCHLD, not SIGCLD."""
    values = [value for value in api.Signal.DESCRIPTOR.values if value.number != _RUNTIME_DEFAULT]
    found: dict[int, int] = {}
    for value in values:
        number = signals.number_of(_plain(value.name))
        if number not in found or signals.name_of(number) == _plain(value.name):
            found[number] = value.number
    return found


_BY_NUMBER = _by_number()
