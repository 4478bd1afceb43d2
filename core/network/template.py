"""CNI configuration templates in the notation of Go's text/template, which nodes have them in.

    {{.PodCIDR}}   {{range .PodCIDRRanges}}{{.}}{{end}}   {{range $i, $to := .Routes}}{{if $i}}, {{end}}{{$to}}{{end}}

That is what such templates use. Anything else is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from core.errdefs import InvalidArgument

Value: TypeAlias = str | int | list[str]
Scope: TypeAlias = Mapping[str, Value]

_ACTION = re.compile(r"(\s*\{\{-\s|\{\{)\s*(.*?)\s*(\s-\}\}\s*|\}\})", re.DOTALL)
_RANGE = re.compile(r"range\s+(?:(?:(\$\w+)\s*,\s*)?(\$\w+)\s*:=\s*)?(\.\w+)")
_TERM = re.compile(r"\.\w*|\$\w+")

Token: TypeAlias = tuple[str, str]
"""("text", …) or ("action", …)."""


def render(template: str, values: Scope) -> str:
    """`template` with `values` by field (`.PodCIDR`). Raises InvalidArgument."""
    return _block(list(_tokens(template)), values)


def _tokens(template: str) -> Iterator[Token]:
    at = 0
    for match in _ACTION.finditer(template):
        yield "text", template[at : match.start()]
        if not match[2].startswith("/*"):
            yield "action", match[2]
        at = match.end()
    yield "text", template[at:]


def _block(tokens: Sequence[Token], scope: Scope) -> str:
    out, at = [], 0
    while at < len(tokens):
        kind, content = tokens[at]
        if kind == "text":
            out.append(content)
        elif _opens(content):
            end = _end_of(tokens, at)
            out.extend(_block(tokens[at + 1 : end], one) for one in _passes(content, scope))
            at = end
        else:
            out.append(str(_value(content, scope)))
        at += 1
    return "".join(out)


def _opens(action: str) -> bool:
    return action.startswith(("range ", "if "))


def _end_of(tokens: Sequence[Token], start: int) -> int:
    """Where the block that begins at `start` has its {{end}}."""
    depth = 0
    for at in range(start, len(tokens)):
        kind, content = tokens[at]
        if kind == "action":
            depth += _opens(content) - (content == "end")
            if depth == 0:
                return at
    raise InvalidArgument(f"template: {{{{{tokens[start][1]}}}}} has no {{{{end}}}}")


def _passes(action: str, scope: Scope) -> list[Scope]:
    """The scope of each time that a block is run."""
    if action.startswith("if "):
        return [scope] if _value(action.removeprefix("if ").strip(), scope) else []
    match = _RANGE.fullmatch(action)
    if not match:
        raise InvalidArgument(f"template: {{{{{action}}}}} is not understood")
    index, item, field = match.groups()
    values = _value(field, scope)
    if not isinstance(values, list):
        raise InvalidArgument(f"template: {field} is no list")
    names: list[Scope] = [{index or "": number, item or "": value, ".": value} for number, value in enumerate(values)]
    return [{**scope, **one} for one in names]


def _value(term: str, scope: Scope) -> Value:
    if not _TERM.fullmatch(term) or term not in scope:
        known = ", ".join(sorted(name for name in scope if name.startswith(".") and len(name) > 1))
        raise InvalidArgument(f"template: {{{{{term}}}}} is not understood; there are {known}")
    return scope[term]
