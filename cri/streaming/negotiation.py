"""Which subprotocol a client and we speak: the client's first choice among ours (client-go and apimachinery)."""

from __future__ import annotations

from collections.abc import Sequence

from cri.streaming.http import Refused, Request

SPDY = "spdy/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
_ACCEPTED_HEADER = "X-Accepted-Stream-Protocol-Versions"


def negotiate(request: Request, ours: Sequence[str]) -> str:
    """The subprotocol of a SPDY client. Raises Refused (400 without any, 403 with the list of ours when none fits)."""
    if not request.upgrades_to(SPDY):
        raise Refused(400, "want an upgrade to SPDY/3.1 or to a WebSocket")
    theirs = request.values(VERSION_HEADER.lower())
    if not theirs:
        raise Refused(400, f"header {VERSION_HEADER} is missing")
    for version in theirs:
        if version in ours:
            return version
    raise Refused(403, f"none of {theirs} is served, but {list(ours)}", [(_ACCEPTED_HEADER, one) for one in ours])


def spdy_headers(version: str) -> list[tuple[str, str]]:
    """Of the 101 that accepts `version`."""
    return [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), (VERSION_HEADER, version)]
