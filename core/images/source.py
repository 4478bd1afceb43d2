"""Where a pull gets from what is not here yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from core.errdefs import NotFound
from core.types import Descriptor


class Source(Protocol):
    """See core.remotes.registry.Repository, which is the one that has something."""

    async def document(self, descriptor: Descriptor) -> bytes: ...

    def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]: ...


class Nowhere:
    """Of an image that must be here already, such as an imported one."""

    async def document(self, descriptor: Descriptor) -> bytes:
        raise _missing(descriptor)

    def blob(self, descriptor: Descriptor, _offset: int = 0) -> AsyncGenerator[bytes, None]:
        raise _missing(descriptor)


def _missing(descriptor: Descriptor) -> NotFound:
    return NotFound(f"content {descriptor.digest}, which the image needs, is not here: import or pull all of the image")
