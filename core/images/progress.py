"""How far a pull is, for those who ask while it runs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from core.types import Descriptor, Digest


class Phase(enum.StrEnum):
    WAITING = "waiting"
    DOWNLOADING = "downloading"
    """And unpacking what has come already."""
    UNPACKING = "unpacking"
    """All bytes are here."""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProgress:
    digest: Digest
    phase: Phase
    offset: int
    """Compressed bytes that are here."""
    size: int


class _Arriving(Protocol):
    @property
    def offset(self) -> int: ...


class LayerState:
    """Of one layer, shared by all pulls that want it."""

    def __init__(self, layer: Descriptor, phase: Phase = Phase.WAITING) -> None:
        self._layer = layer
        self.phase = phase
        self.arriving: _Arriving | None = None
        """Where its bytes come from, while they do."""

    def progress(self) -> LayerProgress:
        size = self._layer.size
        here = size if self.phase in (Phase.UNPACKING, Phase.DONE) else 0
        offset = self.arriving.offset if self.arriving else here
        return LayerProgress(digest=self._layer.digest, phase=self.phase, offset=offset, size=size)


class PullProgress:
    """Of one pull; no layers until it is resolved."""

    def __init__(self) -> None:
        self.states: list[LayerState] = []
        """The lowest first."""

    def layers(self) -> tuple[LayerProgress, ...]:
        return tuple(state.progress() for state in self.states)
