"""Options that need parsing."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets

import click

from cri import api

_PORT = re.compile(r"(?:(\[[^\]]+\]|[0-9.]+):)?([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SIZE = re.compile(r"([0-9]+)([kmgt]?)(?:i?b)?")
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?")


class Port(click.ParamType[api.PortMapping]):
    """`[ADDRESS:]HOST:CONTAINER[/tcp|udp|sctp]`."""

    name = "[ip:]host:container"

    def convert(
        self, value: str | api.PortMapping, param: click.Parameter | None, ctx: click.Context | None
    ) -> api.PortMapping:
        if isinstance(value, api.PortMapping):
            return value
        if not (match := _PORT.fullmatch(value)):
            self.fail(f"{value!r}: want [ADDRESS:]HOST:CONTAINER[/tcp|udp|sctp]", param, ctx)
        address, host, container, protocol = match.groups()
        if not (0 < int(host) < 1 << 16 and 0 < int(container) < 1 << 16):
            self.fail(f"{value!r}: ports go from 1 to 65535", param, ctx)
        try:
            host_ip = str(ipaddress.ip_address(address.strip("[]"))) if address else ""
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return api.PortMapping(
            protocol=(protocol or "tcp").upper(),
            host_ip=host_ip,
            host_port=int(host),
            container_port=int(container),
        )


class Env(click.ParamType[api.KeyValue]):
    """`KEY=VALUE`, or `KEY` for the value that it has here."""

    name = "key[=value]"

    def convert(
        self, value: str | api.KeyValue, param: click.Parameter | None, ctx: click.Context | None
    ) -> api.KeyValue:
        if isinstance(value, api.KeyValue):
            return value
        key, given, text = value.partition("=")
        if not key:
            self.fail(f"{value!r}: want KEY=VALUE", param, ctx)
        return api.KeyValue(key=key, value=os.fsencode(text if given else os.environ.get(key, "")))


class Size(click.ParamType[int]):
    """Bytes: `1048576`, `512m`, `1GiB`; a unit is 1024 of the one before."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not (match := _SIZE.fullmatch(value.lower())):
            self.fail(f"{value!r}: want a number of bytes, or of k, m, g or t: 512m", param, ctx)
        return int(match[1]) << 10 * " kmgt".index(match[2] or " ")


class Span(click.ParamType[float]):
    """Seconds, from `90s`, `10m`, `2h` or `1d`."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return value
        if not (match := _SPAN.fullmatch(value)):
            self.fail(f"{value!r}: want a time like 90s, 10m or 2h", param, ctx)
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


class Label(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`."""

    name = "key=value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, given, text = value.partition("=")
        if not key or not given:
            self.fail(f"{value!r}: want KEY=VALUE", param, ctx)
        return key, text


class Name(click.ParamType[str]):
    """Names a pod, a container and a directory, and serves as a hostname."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _NAME.fullmatch(value):
            self.fail(f"{value!r}: want 1 to 63 of a-z 0-9 - . beginning and ending with a letter or digit", param, ctx)
        return value


def name_for(image: str) -> str:
    """A name after the image's, with random digits: `nginx-1f9a3`."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return f"{re.sub(r'[^a-z0-9]+', '-', last.lower()).strip('-')[:40] or 'container'}-{secrets.token_hex(3)}"
