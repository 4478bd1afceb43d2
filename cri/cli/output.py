"""What commands print: plain columns, which pipes and narrow terminals leave whole, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

SHORT_ID = 13
"""Digits of an id in a table, as crictl shows them."""
_SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))

json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="print ids only, in full")


def to_dict(message: Message) -> dict[str, Any]:
    """`message` as JSON has it (the names and types that crictl prints), fields at their default included."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; nothing is wrapped or cut."""
    lines = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def printable(text: str) -> str:
    """`text` without what would steer a terminal: names and messages come from images and registries, too."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:SHORT_ID]


def ago(nanoseconds: int, now: int | None = None) -> str:
    """How long before `now` a time was, both since the epoch: `3m`; `-` for a time that is not set."""
    if not nanoseconds:
        return "-"
    seconds = max(0, (now or time.time_ns()) - nanoseconds) // 10**9
    unit, length = next((span for span in _SPANS if seconds >= span[1]), _SPANS[-1])
    return f"{seconds // length}{unit}"


def size(count: float) -> str:
    """Bytes in the unit that suits: `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
