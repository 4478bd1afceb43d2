"""How list filters match."""

from __future__ import annotations

from collections.abc import Mapping


def labels_match(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Every key of the selector is there with the same value (CRI: label_selector)."""
    return all(labels.get(key) == value for key, value in selector.items())
