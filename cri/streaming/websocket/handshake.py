"""The WebSocket handshake, RFC 6455 section 4.2. The frames are wsproto's."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from cri.streaming.http import Refused, Request

WEBSOCKET = "websocket"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_VERSION = "13"


def choose(request: Request, ours: Sequence[str]) -> str:
    """The client's first subprotocol that is one of `ours`; "" when it names none, for the oldest of them.

    Raises Refused.
    """
    theirs = request.values("sec-websocket-protocol")
    for name in theirs:
        if name in ours:
            return name
    if theirs:
        raise Refused(400, f"none of the subprotocols {theirs} is served, but {list(ours)}")
    return ""


def accept_headers(request: Request, subprotocol: str) -> list[tuple[str, str]]:
    """Of the 101 that accepts the WebSocket. Raises Refused."""
    if request.method != "GET":
        raise Refused(405, "a WebSocket begins with GET", [("Allow", "GET")])
    if request.values("sec-websocket-version") != [_VERSION]:
        raise Refused(426, f"want WebSocket version {_VERSION}", [("Sec-WebSocket-Version", _VERSION)])
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", _accept_key(request))]
    return [*headers, ("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else headers


def _accept_key(request: Request) -> str:
    keys = request.values("sec-websocket-key")
    try:
        valid = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except binascii.Error:
        valid = False
    if not valid:
        raise Refused(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    digest = hashlib.sha1((keys[0] + _GUID).encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
