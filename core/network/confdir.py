"""The directory in which the node's network configurations are, and the directories of its plugins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from core.errdefs import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from core.files.read import read_limited
from core.network.conflist import NetworkConfig, PluginConfig, parse, parse_plugin, parse_single

MAX_CONFIG = 1 << 20  # bytes; real ones have 1 or 2 KiB

_PARSERS: dict[str, Callable[[bytes], NetworkConfig]] = {
    ".conflist": parse,
    ".conf": parse_single,
    ".json": parse_single,
}
SUFFIXES = tuple(_PARSERS)
"""Of the files that can be a configuration."""


def load_networks(conf_dir: str, limit: int = 1) -> tuple[NetworkConfig, ...]:
    """The first `limit` configurations in lexical order of their file names, as every runtime picks them.

    An invalid file is an error and not skipped: the next one may be a network that no pod of this node should be in.
    Raises FailedPrecondition when there is none, InvalidArgument naming the file that is wrong.
    """
    paths = [path for path in _files(conf_dir) if os.path.splitext(path)[1] in _PARSERS][:limit]
    if not paths:
        raise FailedPrecondition(f"no network config found in {conf_dir}: install a network plugin of your cluster")
    networks = tuple(map(_load, paths))
    for number, (path, network) in enumerate(zip(paths, networks)):
        for other, earlier in zip(paths[:number], networks):
            if network.name == earlier.name:
                raise InvalidArgument(f"{path}: network {network.name!r} is that of {other}: give it a name of its own")
    return networks


def config_directories(conf_dir: str) -> list[str]:
    """The directories whose files `load_networks` may read."""
    try:
        with os.scandir(conf_dir) as entries:
            return [conf_dir, *(entry.path for entry in entries if entry.is_dir())]
    except (FileNotFoundError, NotADirectoryError):
        return [conf_dir]


def find_plugin(name: str, bin_dirs: Sequence[str]) -> str:
    """Path of the executable of plugin type `name`. Raises Unavailable."""
    for directory in bin_dirs:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Unavailable(f"CNI plugin {name!r} is not in {':'.join(bin_dirs)}: install it")


def _load(path: str) -> NetworkConfig:
    with _naming(path):
        network = _PARSERS[os.path.splitext(path)[1]](read_limited(path, MAX_CONFIG))
    if not network.load_only_inlined_plugins:
        network = replace(network, plugins=(*network.plugins, *_siblings(path, network.name)))
    if not network.plugins:
        raise InvalidArgument(f"{path}: network {network.name!r} has no plugins")
    return network


def _siblings(path: str, name: str) -> Iterator[PluginConfig]:
    """Plugins from `<conf_dir>/<network name>/*.conf` (spec section 1, `loadOnlyInlinedPlugins`)."""
    for plugin in _files(os.path.join(os.path.dirname(path), name)):
        if plugin.endswith(".conf"):
            with _naming(plugin):
                yield parse_plugin(read_limited(plugin, MAX_CONFIG))


def _files(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if not entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except (InvalidArgument, ResourceExhausted, OSError) as exc:
        raise InvalidArgument(f"{path}: {exc}") from exc
