from __future__ import annotations

import asyncio
import socket

import pytest

from cri.streaming.spdy.frames import Data, RstStream, Status
from rig.echo import echoing
from rig.spdy_client import SpdyClient
from rig.streaming import streaming

PROTOCOL = "portforward.k8s.io"
off = asyncio.to_thread
TCP_ESTABLISHED = 1


def established(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side of the connection is there, even while nothing is read from it."""
    if writer.is_closing():
        return False
    info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return bool(info[0] == TCP_ESTABLISHED)


async def test_half_a_pair_is_reset_in_time_and_the_session_goes_on() -> None:
    async with echoing() as port, streaming(creation_timeout=0.1) as rig:

        def client() -> bytes:
            with SpdyClient(rig.forward_url(), PROTOCOL) as session:
                half = session.open(streamtype="data", port=str(port), requestid="0")
                session.until(lambda: half in session.reset)
                error, data = session.forward(port, 1)
                session.send(Data(stream_id=data, data=b"whole", fin=True))
                session.until_ended(error, data)
                return bytes(session.data[data])

        assert await off(client) == b"whole"


async def test_a_third_stream_of_a_pair_is_refused() -> None:
    async with echoing() as port, streaming() as rig:

        def client() -> None:
            with SpdyClient(rig.forward_url(), PROTOCOL) as session:
                session.open(streamtype="error", port=str(port), requestid="0")
                again = session.open(streamtype="error", port=str(port), requestid="0")
                assert session.reset[again] == Status.REFUSED_STREAM

        await off(client)


async def test_connections_of_one_session_are_served_at_once_and_all_end() -> None:
    async with echoing() as port, streaming() as rig:

        def client() -> None:
            with SpdyClient(rig.forward_url(), PROTOCOL) as session:
                pairs = [session.forward(port, number) for number in range(50)]
                for number, (_, data) in enumerate(reversed(pairs)):
                    session.send(Data(stream_id=data, data=b"%d" % number, fin=True))
                session.until_ended(*(stream for pair in pairs for stream in pair))
                assert [session.data[data] for _, data in reversed(pairs)] == [b"%d" % number for number in range(50)]

        await off(client)


async def test_a_pod_that_does_not_read_holds_back_its_own_connection_first() -> None:
    stuck = asyncio.Event()

    async def ignore(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stuck.wait()
        writer.close()

    async with echoing() as port, echoing(ignore) as deaf, streaming() as rig:

        def client() -> bytes:
            with SpdyClient(rig.forward_url(), PROTOCOL) as session:
                _, blocked = session.forward(deaf, 0)
                session.send(Data(stream_id=blocked, data=bytes(256 << 10)))
                error, data = session.forward(port, 1)
                session.send(Data(stream_id=data, data=b"goes on", fin=True))
                session.until_ended(error, data)
                return bytes(session.data[data])

        assert await off(client) == b"goes on"
        stuck.set()


async def test_a_connection_whose_pod_does_not_read_ends_with_the_clients_reset() -> None:
    reset = asyncio.Event()

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while established(writer):
            await asyncio.sleep(0.005)  # between looks
        reset.set()
        writer.close()

    async with echoing(deaf) as port, streaming() as rig:

        def client() -> SpdyClient:
            session = SpdyClient(rig.forward_url(), PROTOCOL)
            _, data = session.forward(port, 0)
            session.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while True:
                    session.send(Data(stream_id=data, data=bytes(1 << 16)))
            return session

        session = await off(client)
        session.close()
        await reset.wait()


async def test_a_reset_ends_a_connection_that_is_waiting_for_its_pod() -> None:
    ended = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while established(writer):
            await asyncio.sleep(0.005)  # between looks
        ended.set()
        writer.close()

    async with echoing(deaf, receive=4096) as port, streaming() as rig:

        def client() -> SpdyClient:
            session = SpdyClient(rig.forward_url(), PROTOCOL)
            _, data = session.forward(port, 0)
            session.send(Data(stream_id=data, data=bytes(512 << 10)))  # more than waits in sockets, less than LIMIT
            session.send(RstStream(stream_id=data, status=Status.CANCEL))
            return session

        session = await off(client)
        await ended.wait()
        session.close()
