"""containerd's filters: which of many things a client wants to see.

    name==docker.io/library/busybox:1.36,labels."a.b/c"!=d      all of these
    size                                                        it is there and not empty
    name~=^docker                                               a regular expression

Several filters: what any of them lets pass. containerd pkg/filters, Syntax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from core.errdefs import InvalidArgument

MAX_FILTER = 1024  # characters: longer than any that a person writes
_SELECTOR = re.compile(
    r'(?P<path>[A-Za-z0-9_]+(?:\.(?:[A-Za-z0-9_/-]+|"[^"]*"))*)'
    r'(?:(?P<operator>==|!=|~=)(?P<value>"(?:[^"\\]|\\.)*"|[^,"]*))?(?:,|$)'
)
_PART = re.compile(r'"([^"]*)"|([^."]+)')

Fields = Mapping[str, Any]
"""By name: a text, or a mapping of more of them."""


def passing(filters: Sequence[str], items: Iterable[tuple[Fields, Any]]) -> list[Any]:
    """The second of each pair whose fields one of `filters` lets pass; all without filters. Raises InvalidArgument."""
    compiled = [_compile(text) for text in filters if text]
    return [item for fields, item in items if not compiled or any(accepts(fields) for accepts in compiled)]


def _compile(text: str) -> Callable[[Fields], bool]:
    selectors, position = [], 0
    while position < len(text):
        match = _SELECTOR.match(text, position) if len(text) <= MAX_FILTER else None
        if match is None:
            raise InvalidArgument(f"filter {text[:160]!r}: want field==value, field!=value, field~=pattern or field")
        selectors.append(_selector(match))
        position = match.end()
    return lambda fields: all(selector(fields) for selector in selectors)


def _selector(match: re.Match[str]) -> Callable[[Fields], bool]:
    path = [quoted or plain for quoted, plain in _PART.findall(match["path"])]
    if match["operator"] is None:
        return lambda fields: bool(_value(fields, path))
    wanted = _unquoted(match["value"])
    if match["operator"] == "~=":
        try:
            pattern = re.compile(wanted)
        except (re.error, RecursionError, OverflowError) as exc:
            raise InvalidArgument(f"filter: {wanted[:160]!r} is no pattern: {exc}") from exc
        return lambda fields: bool(pattern.search(_value(fields, path)))
    return lambda fields: (_value(fields, path) == wanted) is (match["operator"] == "==")


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError as exc:
        raise InvalidArgument(f"filter: {text[:160]!r} is not quoted well") from exc


def _value(fields: Fields, path: Sequence[str]) -> str:
    """"" for what is not there."""
    found: Any = fields
    for depth, name in enumerate(path):
        if not isinstance(found, Mapping):
            return ""
        rest = ".".join(path[depth:])
        if rest in found:  # a label with dots in its name that nobody quoted
            return str(found[rest])
        found = found.get(name, "")
    return found if isinstance(found, str) else ""
