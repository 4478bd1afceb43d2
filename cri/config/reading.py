"""From a TOML file to the configuration, strictly: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from core.errdefs import InvalidArgument, NotFound
from core.oci.rlimits import parse_rlimit
from core.remotes.reference import Reference
from cri.config.config import SHIM_TYPE, Config, Runtime


def load(path: str) -> Config:
    """Read the file at `path`. Raises NotFound, InvalidArgument (syntax, unknown key, wrong type or value)."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError as exc:
        raise NotFound(f"configuration {path}: no such file; `crispd config default` prints one") from exc
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"configuration {path}: {exc}") from exc
    return parse(document, path)


def parse(document: Mapping[str, Any], path: str = "") -> Config:
    """The configuration in a decoded document. Raises InvalidArgument."""
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as exc:
        raise InvalidArgument(f"configuration {path}: {exc}{_nearest(document)}") from exc
    for name, runtime in config.handlers().items():
        _check_ulimits(runtime.ulimits, f"configuration {path}: runtimes.{name}")
        _check_shim(runtime, f"configuration {path}: runtimes.{name}")
    named = config.runtimes.get("default")
    if isinstance(named, str) and named not in config.handlers():
        raise InvalidArgument(f"configuration {path}: runtimes.default {named!r} has no [runtimes.{named}]")
    return config


def _check_shim(runtime: Runtime, where: str) -> None:
    if runtime.infra_image:
        Reference.parse(runtime.infra_image)
    elif runtime.type != SHIM_TYPE:
        raise InvalidArgument(
            f"{where}: type {runtime.type} runs pods with a root container: set infra_image, for example to "
            "registry.k8s.io/pause:3.10"
        )


def _check_ulimits(ulimits: Iterable[str], where: str) -> None:
    try:
        for text in ulimits:
            parse_rlimit(text)
    except InvalidArgument as exc:
        raise InvalidArgument(f"{where}: {exc}") from exc


def _nearest(document: Mapping[str, Any]) -> str:
    """`; did you mean …` for the first key that nobody knows."""
    for where, key, known in _unknown(document, Config, ""):
        close = difflib.get_close_matches(key, known, n=1)
        hint = f": did you mean {close[0]!r}?" if close else f": known keys are {', '.join(sorted(known))}"
        return f" - key {where}{key}{hint}"
    return ""


def _unknown(
    document: Mapping[str, Any], shape: type[Struct], where: str
) -> Iterator[tuple[str, str, list[str]]]:
    known = {info.name: info.type for info in msgspec.structs.fields(shape)}
    for key, value in document.items():
        if key not in known:
            yield where, key, list(known)
        elif key == "runtimes" and isinstance(value, Mapping):
            for name, runtime in value.items():
                if isinstance(runtime, Mapping):
                    yield from _unknown(runtime, Runtime, f"{where}runtimes.{name}.")
        elif isinstance(value, Mapping) and isinstance(known[key], type) and issubclass(known[key], Struct):
            yield from _unknown(value, known[key], f"{where}{key}.")
