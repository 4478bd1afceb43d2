"""Proving to a registry who asks (OCI distribution-spec; distribution spec/auth/token and oauth).

A request first goes without proof. The 401 that comes back says what is wanted: Basic, or Bearer with a token from a
*realm*. Where credentials may go (CVE-2020-15157, CVE-2019-10214): to the host for which they are meant, and to the
realm that it names, if that is https, or the very host that we speak plain http with. They follow no redirect.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Protocol

import msgspec
from yarl import URL

from core.errdefs import Internal, PermissionDenied, Unauthenticated
from core.remotes.auth import Login
from core.remotes.challenge import Challenge

_CLIENT_ID = "crisp"


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None


class TokenCall(Protocol):
    async def __call__(self, method: str, url: URL, *, authorization: str, form: dict[str, str] | None) -> bytes:
        """Ask a realm and return its answer's body. Raises Unauthenticated, Unavailable, …"""


class Authorizer:
    """The proof for one host during one pull. Many requests at once share one token."""

    def __init__(self, call: TokenCall, base: URL, login: Login, scope: str) -> None:
        self._call = call
        self._base = base
        self._login = login
        self._scope = scope
        self._turn = asyncio.Lock()  # one token is fetched at a time; the others then use it
        self.header = ""
        """Authorization for the next request, "" for none."""

    async def answer(self, challenges: Sequence[Challenge], used: str) -> None:
        """Renew `header` after a request with header `used` was refused.

        Raises Unauthenticated when there is nothing to try, PermissionDenied (realm), and what the realm raises.
        """
        async with self._turn:
            if self.header == used:
                self.header = ""
                self.header = await self._proof(challenges)
                if self.header == used:
                    raise Unauthenticated("the credentials were refused")

    async def _proof(self, challenges: Sequence[Challenge]) -> str:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if bearer := by_scheme.get("bearer"):
            return f"Bearer {self._login.registry_token or await self._token(bearer)}"
        if "basic" in by_scheme and self._login.username:
            return _basic(self._login)
        if "basic" in by_scheme:
            raise Unauthenticated("it wants a username and password: give imagePullSecrets")
        raise Unauthenticated(f"it wants a proof that is not known: {', '.join(by_scheme) or 'none named'}")

    async def _token(self, challenge: Challenge) -> str:
        realm = self._realm(challenge.parameters.get("realm", ""))
        asked = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get("scope") or self._scope,
        }
        if self._login.identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": self._login.identity_token}
            body = await self._call("POST", realm, authorization="", form={**asked, **grant, "client_id": _CLIENT_ID})
        else:
            authorization = _basic(self._login) if self._login.username else ""
            body = await self._call("GET", realm.update_query(asked), authorization=authorization, form=None)
        return _read_token(body, realm)

    def _realm(self, text: str) -> URL:
        """Raises PermissionDenied for a realm that must not see credentials."""
        try:
            realm = URL(text)
            is_ours = realm.absolute and realm.port is not None and realm.origin() == self._base.origin()
        except ValueError:
            realm, is_ours = URL(), False
        if not realm.host or not (realm.scheme == "https" or is_ours):
            raise PermissionDenied(f"its token realm {_shown(realm)} is neither https nor itself: nothing was sent")
        return realm.with_user(None)


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _read_token(body: bytes, realm: URL) -> str:
    try:
        answer = msgspec.json.decode(body, type=_Token)
    except ValueError as exc:
        raise Internal(f"token realm {_shown(realm)}: the answer is no token") from exc
    token = answer.token or answer.access_token or ""
    if not token or not token.isascii() or not token.isprintable():
        raise Internal(f"token realm {_shown(realm)}: the answer has no token")
    return token


def _shown(url: URL) -> str:
    """Without query and user, which can hold secrets."""
    return str(url.with_query(None).with_user(None)) if url.absolute else repr(str(url.with_query(None))[:160])
