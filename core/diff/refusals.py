"""Errors of the kernel while a layer is being unpacked, told as ours."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from core.errdefs import CrispError, InvalidArgument, ResourceExhausted, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_BROKEN = {errno.EIO, errno.EROFS}


@contextlib.contextmanager
def refusals(name: bytes) -> Iterator[None]:
    """Name the entry in what goes wrong, and tell a full or failing disk from an entry that the kernel refuses."""
    try:
        yield
    except InvalidArgument as exc:
        raise InvalidArgument(f"layer entry {name[:160]!r}: {exc}") from exc
    except OSError as exc:
        raise refusal(exc, f"layer entry {name[:160]!r}: {exc.strerror}") from exc


def refusal(exc: OSError, text: str) -> CrispError:
    """What `exc` comes to for whoever gave us what cannot be made on disk."""
    if exc.errno in _FULL:
        return ResourceExhausted(f"{text}: free some disk space")
    if exc.errno in _SHORT:
        return ResourceExhausted(text)
    return Unavailable(text) if exc.errno in _BROKEN else InvalidArgument(text)
