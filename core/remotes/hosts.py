"""Which hosts serve a registry's images: `<config path>/<registry>/hosts.toml`, in containerd's format.

    server = "https://registry-1.docker.io"          # asked last; the registry itself when unset

    [host."https://mirror.example:5000"]             # asked in this order
      capabilities = ["pull", "resolve"]             # without "resolve" it is not asked what a tag means
      ca = "mirror.crt"                              # path or list; relative to hosts.toml
      client = [["client.cert", "client.key"]]       # path, list of paths, list of pairs
      skip_verify = false
      override_path = false                          # true: the URL's path is used without adding /v2
      dial_timeout = "1s"
      [host."https://mirror.example:5000".header]
        x-custom = "value"                           # string or list of strings

The directory is `<host>_<port>_`, `<host>:<port>` or `<host>`, else `_default`. Without hosts.toml, *.crt in it are CAs
and *.cert with *.key client pairs (Docker's layout). The files are read anew for each pull.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from yarl import URL

from core.errdefs import FailedPrecondition
from core.files.read import read_limited
from core.remotes.reference import DEFAULT_HOST

PULL, RESOLVE, PUSH, REFERRERS = "pull", "resolve", "push", "referrers"
ALL = frozenset((PULL, RESOLVE, PUSH, REFERRERS))
DIAL_TIMEOUT = 30.0  # seconds; the peers' default
MAX_FILE = 1 << 20  # bytes of a hosts.toml; it is the administrator's, but may be a wrong path

_API = "/v2"  # OCI distribution-spec, API
_DOCKER_HUB = "registry-1.docker.io"  # where docker.io's images are
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host to ask for a registry's content."""

    base: URL
    """Of the API: `https://mirror.example/v2`."""
    capabilities: frozenset[str] = ALL
    ca: tuple[str, ...] = ()
    """Files with certificates, trusted beside the system's."""
    client: tuple[tuple[str, str], ...] = ()
    """Certificate and key files; key "" when both are in the first."""
    skip_verify: bool = False
    header: tuple[tuple[str, str], ...] = ()
    dial_timeout: float = DIAL_TIMEOUT
    """Seconds."""
    namespace: str = ""
    """The registry for which this host stands in, "" when it is the registry: sent as query `ns`."""


class _HostEntry(msgspec.Struct):
    capabilities: tuple[str, ...] = ()
    ca: str | tuple[str, ...] = ()
    client: str | tuple[str | Annotated[tuple[str, ...], msgspec.Meta(min_length=2, max_length=2)], ...] = ()
    skip_verify: bool = False
    header: dict[str, str | tuple[str, ...]] = {}
    override_path: bool = False
    dial_timeout: str = ""


class _HostsFile(_HostEntry):
    server: str = ""
    host: dict[str, _HostEntry] = {}


def load_hosts(config_path: str, registry: str) -> tuple[Host, ...]:
    """The hosts to ask for images of `registry` (`Reference.host`), in order; blocks.

    Raises FailedPrecondition when a file makes no sense: going on without it would ask a host that the administrator
    wanted replaced.
    """
    directory = _directory(config_path, registry)
    if directory is None:
        return (_registry_itself(registry),)
    path = os.path.join(directory, "hosts.toml")
    try:
        text = read_limited(path, MAX_FILE)
    except FileNotFoundError:
        return (_with_certificates(_registry_itself(registry), directory),)
    try:
        document = msgspec.convert(tomllib.loads(text.decode()), _HostsFile)
        hosts = [_host(url, entry, directory, registry) for url, entry in document.host.items()]
        return (*hosts, _host(document.server or str(_registry_itself(registry).base), document, directory, registry))
    except (ValueError, msgspec.ValidationError) as exc:
        raise FailedPrecondition(f"{path}: {exc}") from exc


def is_loopback(host: str) -> bool:
    """Whether `host`, without port and brackets, can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _directory(config_path: str, registry: str) -> str | None:
    if not config_path:
        return None
    name, colon, port = registry.rpartition(":")
    names = (registry,) if not colon or port.endswith("]") else (f"{name}_{port}_", registry)
    for candidate in (*names, "_default"):
        path = os.path.join(config_path, candidate)
        if os.path.isdir(path):
            return path
    return None


def _registry_itself(registry: str) -> Host:
    """`registry` by the rules: https, but on this machine http, where nobody listens in and few have certificates."""
    url = URL(f"https://{_DOCKER_HUB if registry == DEFAULT_HOST else registry}{_API}")
    if is_loopback(url.host or "") and url.port != 443:
        url = URL(f"http://{registry}{_API}")
    return Host(base=url)


def _host(text: str, entry: _HostEntry, directory: str, registry: str) -> Host:
    """Raises ValueError."""
    url = _url(text, entry.override_path)
    return Host(
        base=url,
        capabilities=_capabilities(entry),
        ca=tuple(os.path.join(directory, path) for path in _listed(entry.ca)),
        client=tuple(_pairs(entry, directory)),
        skip_verify=entry.skip_verify,
        header=tuple(_header(entry)),
        dial_timeout=_seconds(entry.dial_timeout) if entry.dial_timeout else DIAL_TIMEOUT,
        namespace="" if url.origin() == _registry_itself(registry).base.origin() else registry,
    )


def _url(text: str, override_path: bool) -> URL:
    url = URL(text if "://" in text else f"https://{text}")
    if url.scheme not in ("http", "https") or not url.host or url.user or url.query_string:
        raise ValueError(f"host {text!r}: want http(s)://host[:port][/path]")
    path = url.path.rstrip("/")
    return url.with_path(path if override_path or path.endswith(_API) else path + _API)


def _capabilities(entry: _HostEntry) -> frozenset[str]:
    named = frozenset(map(str.lower, entry.capabilities))
    if unknown := named - ALL:
        raise ValueError(f"unknown capability {min(unknown)!r}: want some of {', '.join(sorted(ALL))}")
    return named or ALL


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _header(entry: _HostEntry) -> Iterator[tuple[str, str]]:
    for name, values in entry.header.items():
        for value in _listed(values):
            if not _TOKEN.fullmatch(name) or any(character in value for character in "\r\n\0"):
                raise ValueError(f"header {name!r}: its name is no token, or its value has a line's end")
            yield name, value


def _pairs(entry: _HostEntry, directory: str) -> Iterator[tuple[str, str]]:
    values: tuple[Any, ...] = (entry.client,) if isinstance(entry.client, str) else entry.client
    for value in values:
        certificate, key = (value, "") if isinstance(value, str) else value
        yield os.path.join(directory, certificate), key and os.path.join(directory, key)


def _seconds(text: str) -> float:
    """A duration in Go's notation: `1s`, `1m30s`, `500ms`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'dial_timeout {text!r}: want a duration like "1s" or "500ms"')
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def _with_certificates(host: Host, directory: str) -> Host:
    names = sorted(os.listdir(directory))
    ca = tuple(os.path.join(directory, name) for name in names if name.endswith(".crt"))
    client = []
    for name in names:
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            paths = os.path.join(directory, name), os.path.join(directory, key) if key in names else ""
            client.append(paths)
    if not ca and not client:
        return host
    return Host(base=host.base.with_scheme("https"), ca=ca, client=tuple(client))
