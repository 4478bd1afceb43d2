"""A long list as a stream of messages, none of which is long (KEP-5825).

What is listed is chosen when the call comes, and a record is a value, so a stream tells of one moment however slowly it
is read; what it holds meanwhile are references and one message. The server ends it when its client does not read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

BATCH = 256 << 10
"""Bytes of a message, unless one item has more: few messages for a long list, and little to hold for a slow client."""


async def in_batches(framed: AsyncGenerator[bytes, None], limit: int = BATCH) -> AsyncGenerator[bytes, None]:
    """Join elements of a repeated field to messages of at most `limit` bytes; nothing of nothing."""
    pending: list[bytes] = []
    size = 0
    async with aclosing(framed):
        async for item in framed:
            if pending and size + len(item) > limit:
                yield b"".join(pending)
                pending.clear()
                size = 0
            pending.append(item)
            size += len(item)
    if pending:
        yield b"".join(pending)


async def each(framed: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """What is ready already."""
    for item in framed:
        yield item
