"""Documents that say their version: of what a newer crispd has written, nothing is guessed."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from core.errdefs import FailedPrecondition

T = TypeVar("T")


class _Versioned(msgspec.Struct, frozen=True):
    version: int = 1


def decode_versioned(document: bytes, shape: type[T], known: int, name: str) -> T:
    """The JSON `document`, called `name` in errors. Raises FailedPrecondition (newer than `known`), MsgspecError."""
    require_known(msgspec.json.decode(document, type=_Versioned).version, known, name)
    return msgspec.json.decode(document, type=shape)


def require_known(version: int, known: int, name: str) -> None:
    """Raises FailedPrecondition when `version` is newer than `known`."""
    if version > known:
        raise FailedPrecondition(
            f"{name} has version {version}, this crispd knows {known}: install the newer Crisp again"
        )
