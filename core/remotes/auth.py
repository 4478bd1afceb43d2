"""What the kubelet gives for one pull (CRI, AuthConfig), and to which hosts it may go."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from yarl import URL

from core.errdefs import InvalidArgument
from core.remotes.hosts import Host

DOCKER_HUB = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))  # one registry, three names


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Secrets: neither logged nor shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """Base64 of `username:password`."""
    identity_token: str = field(default="", repr=False)
    """Exchanged for an access token (OAuth 2 refresh token)."""
    registry_token: str = field(default="", repr=False)
    """Sent to the registry as it is (bearer token)."""
    server_address: str = ""
    """The only host that gets them; any host that serves the registry when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Credentials decoded for one host; all empty for an anonymous one."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


ANONYMOUS = Login()


def login(credentials: Credentials | None, host: Host) -> Login:
    """What `host` may get. Raises InvalidArgument (auth)."""
    if credentials is None or not _is_meant_for(credentials.server_address, host):
        return ANONYMOUS
    username, password = credentials.username, credentials.password
    if credentials.auth and not username:
        username, password = _decode(credentials.auth)
    return Login(
        username=username,
        password=password,
        identity_token=credentials.identity_token,
        registry_token=credentials.registry_token,
    )


def _is_meant_for(server_address: str, host: Host) -> bool:
    if not server_address:
        return True
    ours = host.base
    try:
        named = URL(server_address if "://" in server_address else f"{ours.scheme}://{server_address}")
        if named.host in DOCKER_HUB and ours.host in DOCKER_HUB:
            return True
        return (named.host, named.port) == (ours.host, ours.port)
    except ValueError:
        return False


def _decode(auth: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as exc:
        raise InvalidArgument("credentials: auth is not base64") from exc
    if not colon:
        raise InvalidArgument("credentials: auth is not base64 of username:password")
    return username, password.rstrip("\0")
