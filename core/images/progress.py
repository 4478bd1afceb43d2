"""How far a pull is, for those who ask while it runs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    rate: int = 0
    """Bytes in the last second."""
    host: str = ""
    """That sends them; "" when nobody does, or another pull's."""


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
        self.host_of: Callable[[Digest], str] = lambda _: ""
        """Which host sends a blob now, "" for none."""
        self._offsets: dict[Digest, int] = {}
        self._rates: dict[Digest, int] = {}

    def layers(self) -> tuple[LayerProgress, ...]:
        return tuple(map(self._with_pace, self.states))

    def measure(self, seconds: float) -> None:
        """Take what has come since the last measurement, so many seconds ago, for the rates."""
        offsets = {layer.digest: layer.offset for layer in (state.progress() for state in self.states)}
        self._rates = {
            layer: int((offset - self._offsets.get(layer, offset)) / seconds) for layer, offset in offsets.items()
        }
        self._offsets = offsets

    def _with_pace(self, state: LayerState) -> LayerProgress:
        layer = state.progress()
        if layer.phase is not Phase.DOWNLOADING:
            return layer
        return replace(layer, rate=self._rates.get(layer.digest, 0), host=self.host_of(layer.digest))
