"""Streams, clients that do not read them, and a loop that is busy."""

import asyncio
import time

import grpc
import pytest

from core.errdefs import Internal
from cri import api
from cri.server import make_server

MESSAGE = api.StreamContainersResponse(containers=[api.Container(id="x" * (256 << 10))]).SerializeToString()
METHOD = "/runtime.v1.RuntimeService/StreamContainers"


class Endless:
    """A service whose streams never end by themselves."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.sent = 0

    async def stream_containers(self, _request):
        try:
            while True:
                yield MESSAGE
                self.sent += 1
        finally:
            self.ended.set()

    async def version(self, _request):
        return b""

    async def start_container(self, _request):
        raise Internal("crun create failed: no such command")

    async def stop_container(self, _request):
        raise KeyError("a defect of ours")


@pytest.fixture
async def service(tmp_path):
    service = Endless()
    server = make_server([(api.RUNTIME_SERVICE, service)], stall=0.3)
    await server.start(str(tmp_path / "socket"))
    yield service
    await server.stop()


@pytest.fixture
async def channel(tmp_path, service):
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/socket") as channel:
        yield channel


def call(channel):
    return channel.unary_stream(
        METHOD, request_serializer=lambda data: data, response_deserializer=api.StreamContainersResponse.FromString
    )(b"")


async def test_a_client_that_stops_reading_is_told_and_costs_nothing_more(service, channel):
    stream = call(channel)
    assert await stream.read()
    async with asyncio.timeout(10):
        await service.ended.wait()
    sent = service.sent
    with pytest.raises(grpc.aio.AioRpcError, match="ask again") as caught:
        while await stream.read():
            pass
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert service.sent == sent


async def test_a_client_that_vanishes_ends_its_stream(service, channel):
    stream = call(channel)
    assert await stream.read()
    await channel.close()
    async with asyncio.timeout(10):
        await service.ended.wait()


async def test_calls_wait_for_a_loop_that_is_busy(channel):
    version = channel.unary_unary("/runtime.v1.RuntimeService/Version")
    calls = [version(b"") for _ in range(2000)]
    await asyncio.sleep(0)
    time.sleep(0.2)
    assert set(await asyncio.gather(*calls)) == {b""}


@pytest.mark.parametrize(("method", "traced"), [("StartContainer", False), ("StopContainer", True)])
async def test_the_log_has_the_traceback_of_what_nobody_planned_for(channel, caplog, method, traced):
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")(b"")
    failed = [record for record in caplog.records if record.getMessage() == "call failed"]
    assert [bool(record.exc_info) for record in failed] == [traced]
