from __future__ import annotations

import base64

import aiohttp
import pytest

from cri.streaming.spdy.frames import Data, Frame, SynReply, SynStream
from cri.streaming.spdy.headers import HeaderWriter
from cri.streaming.spdy.reader import FrameReader
from rig.echo import echoing
from rig.streaming import streaming
from rig.websocket_client import connected, received

V4, BASE64, TUNNEL = "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"


async def test_port_forward_has_two_channels_for_each_port() -> None:
    async with (
        echoing() as one,
        echoing() as other,
        streaming() as rig,
        connected(rig.forward_url(one, other), V4) as socket,
    ):
        heads = [(await socket.receive()).data for _ in range(4)]
        assert sorted(heads) == sorted(
            bytes([channel]) + port.to_bytes(2, "little")
            for channel, port in ((0, one), (1, one), (2, other), (3, other))
        )
        for channel, words in ((0, b"first"), (2, b"second")):
            await socket.send_bytes(bytes([channel]) + words)
            assert (await socket.receive()).data == bytes([channel]) + words


async def test_base64_has_the_same_channels_in_text() -> None:
    async with echoing() as port, streaming() as rig, connected(rig.forward_url(port), BASE64) as socket:
        number = base64.b64encode(port.to_bytes(2, "little")).decode()
        assert [(await socket.receive()).data for _ in range(2)] == [f"0{number}", f"1{number}"]
        await socket.send_str("0" + base64.b64encode(b"\0\xff").decode())
        assert (await socket.receive()).data == "0" + base64.b64encode(b"\0\xff").decode()


async def test_a_refused_port_is_told_on_its_error_channel(unused_port: int) -> None:
    async with streaming() as rig, connected(rig.forward_url(unused_port), V4) as socket:
        channels = await received(socket)
        assert socket.close_code == 1000
    assert b"Connection refused" in channels[1]


@pytest.fixture
async def unused_port() -> int:
    async with echoing() as port:
        return port


async def test_channels_want_to_know_their_ports() -> None:
    async with streaming() as rig, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(rig.forward_url(), protocols=[V4])
    assert refused.value.status == 400


async def test_spdy_is_tunnelled_in_binary_messages_cut_anywhere() -> None:
    async with echoing() as port, streaming() as rig, connected(rig.forward_url(), TUNNEL) as socket:
        names, reader, frames = HeaderWriter(), FrameReader(), list[Frame]()
        wire = b"".join(
            SynStream(stream_id=id_, block=names.write({"streamtype": kind, "port": str(port)})).encode()
            for id_, kind in ((1, "error"), (3, "data"))
        )
        wire += Data(stream_id=3, data=b"through the tunnel", fin=True).encode()
        for at in range(0, len(wire), 7):
            await socket.send_bytes(wire[at : at + 7])
        while Data(stream_id=3, fin=True) not in frames:
            frames += reader.feed((await socket.receive()).data)
        assert Data(stream_id=3, data=b"through the tunnel") in frames
        assert [frame.stream_id for frame in frames if isinstance(frame, SynReply)] == [1, 3]


async def test_a_text_of_no_sense_in_the_tunnel_ends_it() -> None:
    async with streaming() as rig, connected(rig.forward_url(), TUNNEL) as socket:
        await socket.send_bytes(b"GET / HTTP/1.1")
        await received(socket)
        assert socket.close_code == 1000  # after SPDY's own GOAWAY
