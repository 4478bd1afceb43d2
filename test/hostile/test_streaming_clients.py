"""Clients of the streaming server that break its protocols (hazards 2e: CVE-2026-35469 and its kin).

Each is hung up on, costs next to no memory, and the other clients do not notice.
"""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from cri.streaming.http import MAX_HEAD
from cri.streaming.server import MAX_STRANGERS
from cri.streaming.spdy.frames import Data, Ping, SynStream
from cri.streaming.spdy.headers import DICTIONARY
from cri.streaming.websocket.connection import MAX_MESSAGE
from rig.spdy_client import HttpClient, SpdyClient, upgrade
from rig.streaming import Rig, streaming

V4, FORWARD = "v4.channel.k8s.io", "portforward.k8s.io"
MAX_GROWTH = 16 << 20  # bytes of this process, which is the server and the client
off = asyncio.to_thread


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server with one client, who still gets its bytes back in the end."""
    async with streaming() as rig:
        honest = await off(SpdyClient, rig.exec_url(), V4)
        ids = await off(lambda: [honest.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")])
        before = resident()
        yield rig
        assert resident() - before < MAX_GROWTH

        def finish() -> bytes:
            honest.send(Data(stream_id=ids[1], data=b"still here", fin=True))
            honest.until_ended(ids[2])
            honest.close()
            return bytes(honest.data[ids[2]])

        assert await off(finish) == b"still here"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def control(kind: int, payload: bytes, length: int | None = None) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, len(payload) if length is None else length) + payload


def syn_stream(plain: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    return control(1, struct.pack(">IIBB", 1, 0, 0, 0) + deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH))


SPDY = {
    "SETTINGS with 2^32-1 entries": control(4, struct.pack(">I", 2**32 - 1)),
    "a SYN_STREAM with 2^31 headers": syn_stream(struct.pack(">I", 2**31)),
    "a header of 2^31 bytes": syn_stream(struct.pack(">II", 1, 2**31)),
    "a header block that inflates a thousandfold": syn_stream(bytes(8 << 20)),
    "a control frame of 16 MiB": control(1, b"", length=0xFFFFFF),
    "a header block that is no zlib": control(1, struct.pack(">IIBB", 1, 0, 0, 0) + b"\xff" * 20),
    "a ping that is too short": control(6, b"\0"),
    "another version": struct.pack(">HHI", 0x8002, 6, 4) + bytes(4),
    "no SPDY at all": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("wire", SPDY.values(), ids=SPDY.keys())
async def test_frames_beyond_the_limits_end_the_session(rig: Rig, wire: bytes) -> None:
    def client() -> None:
        with SpdyClient(rig.forward_url(), FORWARD) as session:
            session.socket.sendall(wire)
            assert session.closed()

    await off(client)


def pings() -> Iterator[bytes]:
    while True:
        yield Ping(id=1).encode() * 1000


def streams() -> Iterator[bytes]:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    for stream_id in range(1, 2_000_000, 2):
        block = deflate.compress(struct.pack(">I", 0)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        yield SynStream(stream_id=stream_id, block=block).encode()


def open_streams() -> Iterator[bytes]:
    """Streams that are taken, and never used."""
    deflate = zlib.compressobj(zdict=DICTIONARY)
    for stream_id in range(1, 2_000_000, 2):
        headers = struct.pack(">I", 3)
        for text in ("streamtype", "data", "port", "80", "requestid", str(stream_id)):
            headers += struct.pack(">I", len(text)) + text.encode()
        yield SynStream(
            stream_id=stream_id, block=deflate.compress(headers) + deflate.flush(zlib.Z_SYNC_FLUSH)
        ).encode()


@pytest.mark.parametrize("flood", [pings, streams, open_streams])
async def test_a_flood_ends_the_session(rig: Rig, flood: Callable[[], Iterator[bytes]]) -> None:
    def client() -> None:
        with SpdyClient(rig.forward_url(), FORWARD) as session, pytest.raises(ConnectionError):
            for wire in flood():
                session.socket.sendall(wire)

    await off(client)


async def test_a_client_that_sends_and_never_reads_is_held_back(rig: Rig) -> None:
    def client() -> None:
        with SpdyClient(rig.exec_url(), V4, timeout=0.5) as session:
            _, stdin, *_ = [session.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")]
            with pytest.raises(TimeoutError):  # cat's answers fill the way back, and nothing is read any more
                while True:
                    session.send(Data(stream_id=stdin, data=bytes(1 << 20)))

    await off(client)


def masked(first: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A WebSocket frame of a client, whose mask is zero; `length` is what it claims."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


BINARY, TEXT, PING, CONTINUED, FIN = 2, 1, 9, 0, 0x80

WEBSOCKET = {
    "an unmasked frame": (bytes([FIN | BINARY, 1, 0]), 1002),
    "a length of 2^63": (masked(FIN | BINARY, b"", length=2**63), 1002),
    "a ping of 126 bytes": (masked(FIN | PING, bytes(126)), 1002),
    "a ping in fragments": (masked(PING, b"x"), 1002),
    "a continuation of nothing": (masked(FIN | CONTINUED, b"x"), 1002),
    "text that is no UTF-8": (masked(FIN | TEXT, b"0\xff\xfe"), 1007),
    "an unknown opcode": (masked(FIN | 3, b""), 1002),
    "compression that was not agreed on": (masked(FIN | 0x40 | BINARY, b"x"), 1002),
}


class RawWebSocket(HttpClient):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        headers = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "eHh4eHh4eHh4eHh4eHh4eA=="}
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}
        assert self.ask(headers, "GET")[0] == 101

    def close_code(self) -> int:
        """Of the close frame that the server says last."""
        said = self.rest
        while data := self.socket.recv(65536):
            said += data
        at = said.rindex(b"\x88")
        return int.from_bytes(said[at + 2 : at + 4])


@pytest.mark.parametrize(("wire", "code"), WEBSOCKET.values(), ids=WEBSOCKET.keys())
async def test_websocket_frames_that_are_not_allowed_end_the_connection(rig: Rig, wire: bytes, code: int) -> None:
    """Hazard "WebSocket"."""
    def client() -> int:
        with RawWebSocket(rig.exec_url()) as socket:
            socket.socket.sendall(wire)
            return socket.close_code()

    assert await off(client) == code


async def test_a_message_without_an_end_is_too_big(rig: Rig) -> None:
    def client() -> int:
        with RawWebSocket(rig.exec_url()) as socket:
            socket.socket.sendall(masked(BINARY, b"\4"))  # to the channel of terminal sizes, which drops nonsense
            piece = masked(CONTINUED, bytes(1 << 20))
            for _ in range(MAX_MESSAGE >> 20):
                socket.socket.sendall(piece)
            return socket.close_code()

    assert await off(client) == 1009


async def test_a_flood_of_websocket_pings_ends_the_connection(rig: Rig) -> None:
    def client() -> None:
        with RawWebSocket(rig.exec_url()) as socket, pytest.raises(ConnectionError):
            while True:
                socket.socket.sendall(masked(FIN | PING, b"") * 1000)

    await off(client)


async def test_a_head_far_beyond_the_limit_is_refused(rig: Rig) -> None:
    def client() -> int:
        with HttpClient(rig.exec_url()) as http:
            return http.ask({"X-Big": "x" * 8 * MAX_HEAD, **upgrade(V4)})[0]

    assert await off(client) == 431


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("PUT", "/exec/{token}", 405),
        ("POST", "/exec/unknown", 404),
        ("POST", "/exec/", 404),
        ("POST", "/", 404),
        ("POST", "/exec/../exec/{token}", 404),
        ("POST", "//exec/{token}", 404),
        ("POST", "/portforward/{token}", 404),
        ("POST", "/exec/{token}/more", 404),
    ],
)
async def test_any_other_request_is_refused_and_hung_up_on(rig: Rig, method: str, path: str, answer: int) -> None:
    """CVE-2018-1002105, CVE-2020-8559: nobody is sent elsewhere, and no connection outlives its refusal."""
    def client() -> None:
        url = rig.exec_url()
        base, _, token = url.rsplit("/", 2)
        with HttpClient(base + path.format(token=token)) as http:
            assert http.ask(upgrade(V4), method)[0] == answer
            assert http.closed()

    await off(client)


async def test_of_many_clients_with_one_token_one_is_let_in(rig: Rig) -> None:
    """Hazard "token": replayed at the same moment."""
    url = rig.exec_url()

    def client() -> int:
        with HttpClient(url) as http:
            return http.ask(upgrade(V4))[0]

    answers = await asyncio.gather(*(off(client) for _ in range(16)))
    assert sorted(answers) == [101, *[404] * 15]


async def test_what_is_no_http_is_answered_with_400(rig: Rig) -> None:
    def client() -> int:
        with HttpClient(rig.exec_url()) as http:
            http.socket.sendall(b"\0\1\2\r\n\r\n")
            return http.answer()[0]

    assert await off(client) == 400


async def test_strangers_are_limited_and_make_room_when_they_leave(rig: Rig) -> None:
    def client() -> None:
        strangers = [HttpClient(rig.exec_url()) for _ in range(MAX_STRANGERS)]
        with HttpClient(rig.exec_url()) as late:
            assert late.closed()
        for stranger in strangers:
            stranger.close()

    await off(client)
    while rig.server.strangers:
        await asyncio.sleep(0)
