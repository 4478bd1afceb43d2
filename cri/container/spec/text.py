"""Strings that reach the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from core.errdefs import InvalidArgument


def kernel_text(value: str, field: str) -> str:
    """`value`, which must be one string to the kernel, too: a NUL would end it early. Raises InvalidArgument."""
    if "\0" in value:
        raise InvalidArgument(f"{field}: {value[:64]!r} has a NUL")
    return value


def kernel_texts(values: Iterable[str], field: str) -> list[str]:
    return [kernel_text(value, field) for value in values]
