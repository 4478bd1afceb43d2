"""Network configurations: what an administrator writes down and plugins get to read (CNI spec 1.1, section 1).

A field that this module does not know reaches the plugin byte for byte as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from core.errdefs import InvalidArgument

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Versions whose requests and results we speak, oldest first: 0.3.0 is the first with chains."""
CHECK_SINCE = "0.4.0"
GC_SINCE = STATUS_SINCE = "1.1.0"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # spec section 1, `name`
_RUNTIME_KEYS = {"capabilities", "runtimeConfig", "prevResult"}  # spec section 3; all others pass unaltered
_RUNTIME_PREFIX = "cni.dev/"

Fields = Mapping[str, msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    type: str
    """Name of the executable; never a path (CVE-2021-20206)."""
    capabilities: frozenset[str]
    fields: Fields
    """The whole object as it was written."""

    @classmethod
    def of(cls, fields: Fields) -> PluginConfig:
        """Raises InvalidArgument."""
        plugin = _convert(fields, _Plugin, "plugin configuration")
        if not _NAME.fullmatch(plugin.type):
            raise InvalidArgument(f"CNI plugin type {plugin.type[:80]!r}: want the name of an executable, not a path")
        offered = frozenset(name for name, enabled in plugin.capabilities.items() if enabled)
        return cls(type=plugin.type, capabilities=offered, fields=fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """A network: the plugins that connect a pod to it, in order."""

    name: str
    versions: tuple[str, ...]
    """Of the configuration's versions those that we speak, oldest first."""
    plugins: tuple[PluginConfig, ...]
    disable_check: bool = False
    disable_gc: bool = False
    load_only_inlined_plugins: bool = False

    @property
    def version(self) -> str:
        """The one that is spoken: the highest."""
        return self.versions[-1]

    def among(self, spoken: Collection[str]) -> NetworkConfig:
        """The network in one of the versions `spoken`. Raises InvalidArgument."""
        versions = tuple(version for version in self.versions if version in spoken)
        if not versions:
            raise InvalidArgument(f"cniVersion {' or '.join(self.versions)} of network {self.name!r}")
        return replace(self, versions=versions)

    def speaks(self, since: str) -> bool:
        """Whether the network's version is `since` or newer."""
        return VERSIONS.index(self.version) >= VERSIONS.index(since)

    def document(self) -> bytes:
        """The configuration with all its plugins inline, for `parse` to read again."""
        return msgspec.json.encode(
            {
                "cniVersion": self.version,
                "name": self.name,
                "disableCheck": self.disable_check,
                "disableGC": self.disable_gc,
                "plugins": [plugin.fields for plugin in self.plugins],
            }
        )

    def request(self, plugin: PluginConfig, inserted: Mapping[str, Any]) -> bytes:
        """What `plugin` reads from stdin (spec section 3, "Deriving request configuration"), with `inserted` keys."""
        kept = {
            key: value
            for key, value in plugin.fields.items()
            if key not in _RUNTIME_KEYS and not key.startswith(_RUNTIME_PREFIX)
        }
        return msgspec.json.encode({**kept, "cniVersion": self.version, "name": self.name, **inserted})


def parse(document: bytes) -> NetworkConfig:
    """A `.conflist`. Its plugins may be none yet: others can come from files beside it. Raises InvalidArgument."""
    found = _decode(document, _List, "network configuration")
    if not _NAME.fullmatch(found.name):
        raise InvalidArgument(f"network configuration: name {found.name[:80]!r}: want letters, digits, _ . -")
    if found.load_only_inlined_plugins in {True, "true"} and not found.plugins:
        raise InvalidArgument(f"network {found.name!r}: loadOnlyInlinedPlugins without plugins")
    return NetworkConfig(
        name=found.name,
        versions=_known({found.cni_version, *found.cni_versions}, found.name),
        plugins=tuple(PluginConfig.of(fields) for fields in found.plugins),
        disable_check=_is_true(found.disable_check),
        disable_gc=_is_true(found.disable_gc),
        load_only_inlined_plugins=_is_true(found.load_only_inlined_plugins),
    )


def parse_single(document: bytes) -> NetworkConfig:
    """A `.conf` or `.json`: the one plugin of a network. Raises InvalidArgument."""
    fields = _decode(document, dict[str, msgspec.Raw], "network configuration")
    head = _convert(fields, _List, "network configuration")
    plugin = msgspec.json.encode({"cniVersion": head.cni_version, "name": head.name, "plugins": [fields]})
    return parse(plugin)


def parse_plugin(document: bytes) -> PluginConfig:
    """A plugin configuration in a file of its own. Raises InvalidArgument."""
    return PluginConfig.of(_decode(document, dict[str, msgspec.Raw], "plugin configuration"))


class _Plugin(msgspec.Struct):
    type: str
    capabilities: dict[str, bool] = {}


class _List(msgspec.Struct, rename="camel"):
    name: str
    cni_version: str = ""
    cni_versions: list[str] = []
    plugins: list[dict[str, msgspec.Raw]] = []
    disable_check: bool | str = False
    disable_gc: bool | str = msgspec.field(default=False, name="disableGC")
    load_only_inlined_plugins: bool | str = False


def _is_true(value: bool | str) -> bool:
    """Old configurations write booleans as strings."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _known(versions: set[str], name: str) -> tuple[str, ...]:
    known = tuple(version for version in VERSIONS if version in versions)
    if not known:
        written = ", ".join(sorted(versions - {""})) or "none"
        raise InvalidArgument(f"network {name!r}: cniVersion {written}: want one of {', '.join(VERSIONS)}")
    return known


def _decode(document: bytes, kind: type[Any], what: str) -> Any:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidArgument(f"{what}: {exc}") from exc


def _convert(fields: Fields, kind: type[Any], what: str) -> Any:
    return _decode(msgspec.json.encode(fields), kind, what)
