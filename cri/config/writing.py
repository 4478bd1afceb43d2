"""From the configuration to TOML: as it is, or as it is without a file, with the meaning of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Meta, Struct

from cri.config.config import Config, Runtime

_BARE_KEY = re.compile("[A-Za-z0-9_-]+")


def dump(config: Config) -> str:
    """`config` as TOML that `load` reads back."""
    return "\n".join(_table(msgspec.to_builtins(config), "")) + "\n"


def _table(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """A TOML table, its own keys first: what follows the head of another one belongs to that."""
    if name:
        yield f"\n[{name}]"
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            quoted = key if _BARE_KEY.fullmatch(key) else _value(key)
            yield from _table(value, f"{name}.{quoted}" if name else quoted)


def _value(value: Any) -> str:
    """A string, number, boolean or list of them: JSON's notation is TOML's, too (TOML 1.0, String)."""
    return msgspec.json.encode(value).decode()


def default_toml() -> str:
    """The configuration without a file, each key with its meaning."""
    lines = list(_documented(Config(), ""))
    lines += ["", "# [runtimes]", '# default = "crun"', "# [runtimes.crun]"]
    lines += [f"# {line}" for line in _keys(Runtime())]
    return "\n".join(lines) + "\n"


def _documented(config: Struct, section: str) -> Iterator[str]:
    if section:
        yield ""
        yield f"[{section}]"
    yield from _keys(config)
    for info in msgspec.structs.fields(type(config)):
        value = getattr(config, info.name)
        if isinstance(value, Struct):
            yield from _documented(value, f"{section}.{info.name}" if section else info.name)


def _keys(config: Struct) -> Iterator[str]:
    for info in msgspec.structs.fields(type(config)):
        value = getattr(config, info.name)
        if not isinstance(value, Struct | dict):
            yield f"{info.name} = {_value(value)}  # {_meaning(info.type)}"


def _meaning(type_: Any) -> str:
    return next((meta.description or "" for meta in getattr(type_, "__metadata__", ()) if isinstance(meta, Meta)), "")
