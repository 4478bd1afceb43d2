"""The free memory between what a process has loaded, taken before it forks.

A child puts its first objects into the holes that loading has left all over the heap, and copies a page for each.
Without holes they lie side by side on new pages.
"""

from __future__ import annotations

_POOL, _HEADER = 16 << 10, 48
"""Bytes of a pool, which has objects of one size, and of what is before them (CPython, Objects/obmalloc.c)."""
_STEP, _SMALL = 16, 512
"""Sizes of pools' objects are multiples of the one up to the other; what is larger comes from malloc."""
_BYTES = b"".__sizeof__()
"""What a bytes object is larger than its content."""
_LARGEST = 64 << 10
"""Bytes of a hole that matters: one of this size is 16 pages, and new pages are no worse than its."""


def fill() -> list[bytes]:
    """What is in the holes now, to be kept."""
    kept: list[bytes] = []
    for size in range(3 * _STEP, _SMALL + 1, _STEP):
        _fill_pools(size, kept)
    _fill_heap(kept)
    return kept


def _fill_pools(size: int, kept: list[bytes]) -> None:
    """Allocate until a pool that was empty is full: the allocator takes none before those with holes are full."""
    row = False  # whether all since a pool's first object are one behind the other
    before = 0
    while not row or before % _POOL + 2 * size <= _POOL:
        kept.append(bytes(size - _BYTES))
        address = id(kept[-1])
        row = address % _POOL == _HEADER or (row and address == before + size)
        before = address


def _fill_heap(kept: list[bytes]) -> None:
    """Allocate, large ones first, until each size comes from above all others."""
    top = 0
    for size in (*range(_LARGEST, 4 * _SMALL, -_LARGEST // 16), *range(4 * _SMALL, _SMALL, -_STEP)):
        while True:
            kept.append(bytes(size - _BYTES))
            if id(kept[-1]) > top:
                top = id(kept[-1])
                break
