"""WWW-Authenticate: which proof a server wants (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SCHEME = re.compile(rf"{_WORD}(?=[ \t,]|$)")
_BETWEEN = re.compile(r"[ \t,]*")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    scheme: str
    """Lower case."""
    parameters: Mapping[str, str]
    """Names in lower case; of several values the first."""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges, in order; what makes no sense ends its header. Never raises."""
    return [challenge for header in headers for challenge in _parse(header)]


def _parse(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header):
        position = _end(_BETWEEN.match(header, position))
        if found and (parameter := _PARAMETER.match(header, position)):
            name, quoted, token = parameter.groups()
            value = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
            found[-1][1].setdefault(name.lower(), value)
            position = parameter.end()
        elif scheme := _SCHEME.match(header, position):
            found.append((scheme[0].lower(), {}))
            position = scheme.end()
        else:
            break
    return [Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found]


def _end(match: re.Match[str] | None) -> int:
    assert match  # the pattern matches the empty string
    return match.end()
