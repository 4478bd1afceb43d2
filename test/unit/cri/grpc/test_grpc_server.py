"""Calls of a real client of gRPC, and of one that is none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import grpc
import pytest

from cri.grpc.call import Call
from cri.grpc.codes import Code
from cri.grpc.probe import ask
from cri.grpc.server import Server
from cri.grpc.session import Route
from cri.grpc.wire import MAX_MESSAGE
from cri.http2.frames import PREFACE, Flag, Type, frame, settings


class Service:
    """What the tests call, and what became of it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[float | None] = []

    async def echo(self, call: Call) -> None:
        self.seen.append(call.remaining())
        call.reply(call.request)

    async def fail(self, call: Call) -> None:
        call.finish(Code.NOT_FOUND, "nö: 100 %")

    async def hang(self, call: Call) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def repeat(self, call: Call) -> None:
        call.begin()
        for _ in range(3):
            await call.write(call.request)
        call.finish(Code.OK)

    async def converse(self, call: Call) -> None:
        call.begin()
        async for message in call.requests():
            await call.write(message[:10])
        call.finish(Code.OK)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def server(service: Service, address: str) -> AsyncIterator[Server]:
    handlers = {"echo": service.echo, "fail": service.fail, "hang": service.hang, "repeat": service.repeat}
    routes = {f"/s/{name}": Route(handler=handler) for name, handler in handlers.items()}
    server = Server({**routes, "/s/converse": Route(handler=service.converse, takes_stream=True)})
    await server.start(address)
    yield server
    await server.stop()
    assert len(asyncio.all_tasks()) == 1


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("s") / "socket")


@pytest.fixture
async def channel(server: Server, address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"unix:{address}", options=options) as channel:
        yield channel


async def refusal(call: grpc.aio.Call) -> tuple[grpc.StatusCode, str]:
    return await call.code(), await call.details() or ""


@pytest.mark.parametrize("size", [0, 1, 70_000, 3 << 20, MAX_MESSAGE])
async def test_a_message_of_any_size_comes_back(channel: grpc.aio.Channel, size: int) -> None:
    message = os.urandom(size)
    assert await channel.unary_unary("/s/echo")(message) == message


async def test_a_message_that_is_too_large_is_refused_and_the_connection_goes_on(channel: grpc.aio.Channel) -> None:
    echo = channel.unary_unary("/s/echo")
    code, _ = await refusal(echo(bytes(MAX_MESSAGE + 1)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await echo(b"x") == b"x"


async def test_calls_at_the_same_time_are_all_answered(channel: grpc.aio.Channel) -> None:
    echo = channel.unary_unary("/s/echo")
    messages = [b"%d" % number * 100 for number in range(3000)]
    assert await asyncio.gather(*map(echo, messages)) == messages


async def test_errors_have_their_code_and_their_words(channel: grpc.aio.Channel) -> None:
    assert await refusal(channel.unary_unary("/s/fail")(b"")) == (grpc.StatusCode.NOT_FOUND, "nö: 100 %")
    code, words = await refusal(channel.unary_unary("/s/none")(b""))
    assert (code, words) == (grpc.StatusCode.UNIMPLEMENTED, "there is no /s/none here")


async def test_a_deadline_comes_along_and_its_end_cancels(channel: grpc.aio.Channel, service: Service) -> None:
    await channel.unary_unary("/s/echo")(b"", timeout=100)
    await channel.unary_unary("/s/echo")(b"")
    first, second = service.seen
    assert first is not None
    assert 90 < first < 110  # a client may round it up
    assert second is None
    code, _ = await refusal(channel.unary_unary("/s/hang")(b"", timeout=0.1))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await service.cancelled.wait()


async def test_who_gives_up_or_goes_has_its_call_cancelled(
    channel: grpc.aio.Channel, service: Service, address: str
) -> None:
    for give_up in (lambda call, _: call.cancel(), lambda _, other: other.close()):
        service.begun.clear()
        service.cancelled.clear()
        async with grpc.aio.insecure_channel(f"unix:{address}") as other:
            call = other.unary_unary("/s/hang")(b"")
            waiting = asyncio.ensure_future(call.code())
            await service.begun.wait()
            if closing := give_up(call, other):
                await closing if asyncio.iscoroutine(closing) else None
            await service.cancelled.wait()
            assert await waiting is grpc.StatusCode.CANCELLED


async def test_streams_go_both_ways(channel: grpc.aio.Channel) -> None:
    assert [message async for message in channel.unary_stream("/s/repeat")(b"x" * 100_000)] == [b"x" * 100_000] * 3
    sent = [b"%d" % number + bytes(1 << 20) for number in range(20)]  # far more than fits into the windows
    heard = [message async for message in channel.stream_stream("/s/converse")(iter(sent))]
    assert heard == [message[:10] for message in sent]


async def test_a_server_that_stops_lets_calls_end_and_takes_no_more(
    server: Server, channel: grpc.aio.Channel, service: Service, address: str
) -> None:
    hanging = channel.unary_unary("/s/hang")(b"")
    waiting = asyncio.ensure_future(hanging.code())
    await service.begun.wait()
    await server.stop(0.05)
    assert await waiting in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    assert service.cancelled.is_set()
    assert not os.path.exists(address)


async def test_the_socket_is_for_root_and_its_group(server: Server, address: str) -> None:
    assert os.stat(address).st_mode & 0o777 == 0o660


async def test_a_probe_hears_how_a_call_ends(server: Server, address: str) -> None:
    assert await ask(address, "/s/echo") is Code.OK
    assert await ask(address, "/s/fail") is Code.NOT_FOUND
    with pytest.raises(OSError):
        await ask(f"{address}.none", "/s/echo")


async def test_other_requests_and_other_protocols_are_turned_away(server: Server, address: str) -> None:
    for wire, expected in (
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(10), b"\0\0\0\1"),  # GOAWAY with PROTOCOL_ERROR
        (PREFACE + settings({}) + frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, b"\x82"), b"415"),
    ):
        reader, writer = await asyncio.open_unix_connection(address)
        writer.write(wire)
        got = b""
        while expected not in got:
            piece = await reader.read(1000)
            assert piece
            got += piece
        writer.close()
        await writer.wait_closed()
