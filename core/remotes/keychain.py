"""Credentials that the node has for registries and their mirrors, where the kubelet gives none.

The file has the format of Docker's config.json (also containers-auth.json(5)) and is read anew for each pull:

    {
      "auths": {
        "registry.example":      {"auth": "<base64 of username:password>"},
        "registry.example/team": {"identitytoken": "..."}
      },
      "credHelpers": {"ecr.example": "ecr-login"},
      "credsStore": "pass"
    }

The most specific key wins: `host/namespace/repository`, then shorter ones, then `host`. A helper is the program
`docker-credential-<name>` on PATH, asked as docker/docker-credential-helpers describes: the host on stdin, one JSON
object on stdout.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import msgspec

from core.errdefs import FailedPrecondition
from core.files.read import read_limited
from core.log import get_logger
from core.process import Completed, execute
from core.remotes.auth import DOCKER_HUB, Credentials
from core.remotes.hosts import Host

log = get_logger(__name__)

HELPER_TIMEOUT = 30.0  # seconds; those of the clouds ask a web service
MAX_FILE = 1 << 20  # bytes; it may be a wrong path
_MAX_ANSWER = 64 << 10  # bytes; tokens have a few thousand
_HUB = "https://index.docker.io/v1/"  # docker.io's key in Docker's own files
_TOKEN_USER = "<token>"  # noqa: S105 - a helper's word for "the secret is an identity token"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NOT_FOUND = b"credentials not found"  # what helpers print, with code 1, for a host that they do not know


class _Entry(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _File(msgspec.Struct):
    auths: dict[str, _Entry] = {}
    credHelpers: dict[str, str] = {}  # noqa: N815 - the file's own names
    credsStore: str = ""  # noqa: N815


class _Answer(msgspec.Struct):
    Username: str
    Secret: str


class Keychain:
    def __init__(self, path: str) -> None:
        """The file at `path`, "" for none; it may appear later."""
        self._path = path

    async def find(self, host: Host, repository: str) -> Credentials | None:
        """What the node has for `repository` at `host`, a registry or a mirror; None for nothing.

        Raises FailedPrecondition when the file makes no sense or a helper fails: going on without it would end in an
        error that does not name the cause.
        """
        file = self._read()
        for key in _keys(host, repository):
            if key in file.credHelpers:
                return await self._ask(file.credHelpers[key], key)
            if (entry := file.auths.get(key)) and any(msgspec.structs.astuple(entry)):
                return _credentials(entry)
        return await self._ask(file.credsStore, _store_key(host)) if file.credsStore else None

    def _read(self) -> _File:
        # On the loop: a small local file, and the kernel has it in memory.
        try:
            file = msgspec.json.decode(read_limited(self._path, MAX_FILE), type=_File) if self._path else _File()
        except FileNotFoundError:
            return _File()
        except msgspec.MsgspecError as exc:
            raise FailedPrecondition(f"{self._path}: {exc}") from exc
        return _File(
            auths={_normal(key): entry for key, entry in file.auths.items()},
            credHelpers={_normal(key): helper for key, helper in file.credHelpers.items()},
            credsStore=file.credsStore,
        )

    async def _ask(self, helper: str, key: str) -> Credentials | None:
        name = f"docker-credential-{helper}"
        program = shutil.which(name) if _HELPER.fullmatch(helper) else None
        if program is None:
            raise FailedPrecondition(f"{self._path}: credential helper {name[:160]!r} is not on PATH")
        try:
            done = await execute(
                [program, "get"], os.environ, key.encode(), limit=_MAX_ANSWER, timeout=HELPER_TIMEOUT
            )
        except TimeoutError:
            raise FailedPrecondition(f"{name}: no answer for {key} in {HELPER_TIMEOUT:.0f} s") from None
        return _answer(name, key, done)


def _answer(name: str, key: str, done: Completed) -> Credentials | None:
    """Nothing of what the helper printed goes into an error: it may be the secret."""
    if done.code and _NOT_FOUND in done.stdout + done.stderr:
        return None
    if done.code or done.truncated:
        raise FailedPrecondition(f"{name} failed for {key} with code {done.code}: run it by hand to see why")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.MsgspecError:
        raise FailedPrecondition(f"{name}: its answer for {key} is not what a credential helper prints") from None
    if answer.Username == _TOKEN_USER:
        return Credentials(identity_token=answer.Secret)
    return Credentials(username=answer.Username, password=answer.Secret)


def _credentials(entry: _Entry) -> Credentials:
    fields: dict[str, Any] = msgspec.structs.asdict(entry)
    return Credentials(
        identity_token=fields.pop("identitytoken"), registry_token=fields.pop("registrytoken"), **fields
    )


def _keys(host: Host, repository: str) -> Iterator[str]:
    """The most specific first."""
    parts = repository.split("/")
    for name in _names(host):
        for length in range(len(parts), 0, -1):
            yield "/".join((name, *parts[:length]))
    yield from _names(host)


def _names(host: Host) -> tuple[str, ...]:
    return tuple(sorted(DOCKER_HUB)) if host.base.host in DOCKER_HUB else (host.base.authority,)


def _store_key(host: Host) -> str:
    return _HUB if host.base.host in DOCKER_HUB else host.base.authority


def _normal(key: str) -> str:
    """Docker writes URLs: `https://index.docker.io/v1/` is the host."""
    return re.sub(r"^https?://|(/v[12])?/?$", "", key)
