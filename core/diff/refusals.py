"""Errors of the kernel while a layer is being unpacked, told as ours."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from core.errdefs import InvalidArgument, ResourceExhausted

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@contextlib.contextmanager
def refusals(name: bytes) -> Iterator[None]:
    """Name the entry in what goes wrong, and tell a full disk from an entry that the kernel refuses."""
    try:
        yield
    except InvalidArgument as exc:
        raise InvalidArgument(f"layer entry {name[:160]!r}: {exc}") from exc
    except OSError as exc:
        text = f"layer entry {name[:160]!r}: {exc.strerror}"
        raise (ResourceExhausted(text) if exc.errno in _FULL else InvalidArgument(text)) from exc
