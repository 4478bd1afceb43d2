"""Stores of what CRI lists: in memory for reads, written through to the records for the next daemon.

A list reply is kept as ready bytes: a `repeated` field of protobuf is the concatenation of its framed items
(protobuf encoding guide, "Length-Delimited Records"), so a reply is one join and no message is built for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from core.errdefs import InvalidArgument, NotFound
from core.log import get_logger
from core.metadata.records import Record, RecordStore
from core.steps import step
from core.types import Labels

log = get_logger(__name__)


class Stored(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Labels: ...


T = TypeVar("T", bound=Stored)
OnChange = Callable[[T | None, T | None], None]


class Store(Generic[T]):
    """All values of one kind. Reads never block; `put` and `delete` return when the record is written."""

    def __init__(
        self, kind: str, shape: type[T], item: Callable[[T], Message], records: RecordStore, executor: Executor
    ) -> None:
        self._kind = kind
        self._shape = shape
        self._item = item
        self._records = records
        self._executor = executor
        self._values: dict[str, T] = {}
        self._framed: dict[str, bytes] = {}
        self._subscribers: list[OnChange[T]] = []

    def subscribe(self, on_change: OnChange[T]) -> None:
        """Call `on_change` with the value before and after each change, as it becomes visible; None: not there."""
        self._subscribers.append(on_change)

    async def load(self) -> None:
        """Read the records of an earlier daemon. One that makes no sense is set aside, and its copy taken."""
        for record in await self._call(lambda: list(self._records.load(self._kind))):
            if not self._restore(record):
                copy = await self._call(lambda: self._records.set_aside(self._kind, record.id))  # noqa: B023 - awaited
                if copy:
                    self._restore(copy)

    def put(self, value: T) -> Awaitable[None]:
        """Store `value` under its id: the change is visible at once, and durable against a crash when it was awaited.

        When writing fails a new value is gone again; of a known one memory tells the truth, and the record is old.
        """
        before = self._values.get(value.id)
        record = Record(kind=self._kind, id=value.id, body=msgspec.json.encode(value))
        self._remember(value)
        self._tell(before, value)
        return self._written(value.id, before, self._call(lambda: self._records.put(record)))

    async def _written(self, id_: str, before: T | None, writing: Awaitable[None]) -> None:
        try:
            with step("record"):
                await asyncio.shield(writing)  # a caller that goes away takes nothing back
        except Exception:
            if before is None:
                self._forget(id_)
            raise

    async def delete(self, id_: str) -> None:
        """Forget the value; success when there is none."""
        with step("record"):
            await self._call(lambda: self._records.delete((self._kind, id_)))
        self._forget(id_)

    def get(self, id_: str) -> T:
        """By id or by a prefix that fits one id only. Raises NotFound, InvalidArgument (ambiguous or empty)."""
        value = self._values.get(id_)
        return value if value is not None else self._by_prefix(id_)

    def find(self, id_: str) -> T | None:
        """By full id only."""
        return self._values.get(id_)

    def list(self) -> tuple[T, ...]:
        return tuple(self._values.values())

    def reply(self, wanted: Callable[[T], bool] | None = None) -> bytes:
        """The serialised list response (its items are field 1) of all, or of the wanted values."""
        return b"".join(self.framed(wanted))

    def framed(self, wanted: Callable[[T], bool] | None = None) -> tuple[bytes, ...]:
        """The items of that response."""
        if wanted is None:
            return tuple(self._framed.values())
        return tuple(self._framed[value.id] for value in self._values.values() if wanted(value))

    def _restore(self, record: Record) -> bool:
        try:
            self._remember(msgspec.json.decode(record.body, type=self._shape))
        except (msgspec.MsgspecError, ValueError, DecodeError) as exc:
            log.error("record makes no sense", kind=self._kind, id=record.id, error=exc)
            return False
        return True

    def _remember(self, value: T) -> None:
        self._framed[value.id] = frame(self._item(value).SerializeToString())
        self._values[value.id] = value

    def _forget(self, id_: str) -> None:
        self._framed.pop(id_, None)
        value = self._values.pop(id_, None)
        if value is not None:
            self._tell(value, None)

    def _tell(self, before: T | None, after: T | None) -> None:
        for on_change in self._subscribers:
            on_change(before, after)

    def _by_prefix(self, prefix: str) -> T:
        if not prefix:
            raise InvalidArgument(f"{self._kind} id is empty")
        found = [value for id_, value in self._values.items() if id_.startswith(prefix)]
        if len(found) > 1:
            raise InvalidArgument(f"{self._kind} id {prefix!r} fits {len(found)}: give more characters")
        if not found:
            raise NotFound(f"{self._kind} {prefix!r}")
        return found[0]

    def _call(self, work: Callable[[], R]) -> Awaitable[R]:
        """Queued at once, so that records are written in the order in which they were put."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


R = TypeVar("R")


def frame(item: bytes, field: int = 1) -> bytes:
    """`item` as an element of the repeated field, or as the message in the field, of that number (below 16)."""
    return bytes((field << 3 | 2,)) + varint(len(item)) + item


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
