"""The state of the node in messages that a ttrpc frame can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.api.nri_pb2 import SynchronizeRequest
from core.api.nri_types_pb2 import Container, PodSandbox

MAX_BATCH = 3 << 20
"""Bytes of pods and containers in one message: a frame has 4 MiB, and an object is far below one."""


def batches(
    pods: Sequence[PodSandbox], containers: Sequence[Container], limit: int = MAX_BATCH
) -> Iterator[SynchronizeRequest]:
    """At least one message; all but the last say that more follows."""
    batch, size = SynchronizeRequest(), 0
    both: list[PodSandbox | Container] = [*pods, *containers]
    for one in both:
        needed = one.ByteSize()
        if size and size + needed > limit:
            batch.more = True
            yield batch
            batch, size = SynchronizeRequest(), 0
        if isinstance(one, PodSandbox):
            batch.pods.append(one)
        else:
            batch.containers.append(one)
        size += needed
    yield batch
