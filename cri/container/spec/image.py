"""Wishes in an image's config, which anybody may have written (OCI image-spec, config.md)."""

from __future__ import annotations

from core.errdefs import InvalidArgument
from cri.container.spec.source import Source


def image_text(source: Source, key: str) -> str:
    """A string, "" when absent. Raises InvalidArgument."""
    value = source.image_config.get(key) or ""
    if not isinstance(value, str):
        raise InvalidArgument(f"image {source.image.id}: config.{key} is not a string")
    return value


def image_strings(source: Source, key: str) -> list[str]:
    """A list of strings, empty when absent. Raises InvalidArgument."""
    value = source.image_config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"image {source.image.id}: config.{key} is not a list of strings")
    return value
