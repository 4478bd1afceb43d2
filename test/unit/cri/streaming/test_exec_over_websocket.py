from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import pytest

from rig.fake_streams import FakeExec
from rig.streaming import streaming
from rig.websocket_client import connected, received

V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


async def fail(process: FakeExec) -> None:
    await process.output.write(b"out")
    await process.errors.write(b"err")
    await process.exit(7)


async def test_v5_half_closes_stdin_and_ends_normally() -> None:
    async with streaming() as rig, connected(rig.exec_url(), V5) as socket:
        assert socket.protocol == V5
        await socket.send_bytes(bytes([STDIN]) + b"hel")
        await socket.send_bytes(bytes([STDIN]) + b"lo")
        await socket.send_bytes(bytes([CLOSE, STDIN]))
        channels = await received(socket)
        assert socket.close_code == 1000
    assert channels[STDOUT] == b"hello"
    assert json.loads(channels[ERROR])["status"] == "Success"


@pytest.mark.parametrize("version", [V5, V4, "v4.base64.channel.k8s.io"])
async def test_the_exit_code_is_on_the_error_channel(version: str) -> None:
    async with streaming(fail) as rig, connected(rig.exec_url(), version) as socket:
        channels = await received(socket)
    assert (channels[STDOUT], channels[STDERR]) == (b"out", b"err")
    assert json.loads(channels[ERROR])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


@pytest.mark.parametrize("protocols", [[V1], ["base64.channel.k8s.io"], []], ids=str)
async def test_the_oldest_clients_get_text_and_may_name_no_protocol(protocols: list[str]) -> None:
    async with streaming(fail) as rig, connected(rig.exec_url(), *protocols) as socket:
        channels = await received(socket)
    assert channels == {STDOUT: b"out", STDERR: b"err", ERROR: b"command terminated with exit code 7"}


async def test_base64_goes_both_ways() -> None:
    async def first(process: FakeExec) -> None:
        await process.output.write(await process.input.read(100))
        await process.exit(0)

    async with streaming(first) as rig, connected(rig.exec_url(), "v4.base64.channel.k8s.io") as socket:
        await socket.send_str("0" + base64.b64encode(b"\0\xff").decode())
        assert (await received(socket))[STDOUT] == b"\0\xff"


async def test_a_browser_may_offer_compression_and_gets_plain_messages() -> None:
    headers = {"Origin": "https://dashboard.example", "User-Agent": "Mozilla/5.0"}
    async with (
        streaming() as rig,
        aiohttp.ClientSession() as session,
        session.ws_connect(rig.exec_url(), protocols=[V5, V4], compress=15, headers=headers) as socket,
    ):
        assert (socket.protocol, socket.compress) == (V5, 0)
        await socket.send_bytes(bytes([STDIN]) + b"x" * 100_000)
        await socket.send_bytes(bytes([CLOSE, STDIN]))
        assert (await received(socket))[STDOUT] == b"x" * 100_000


async def test_the_first_message_is_empty_and_says_that_we_are_there() -> None:
    async def wait(process: FakeExec) -> None:
        await process.input.read(1)
        await process.exit(0)

    async with streaming(wait) as rig, connected(rig.exec_url(stdout=False), V4) as socket:
        assert (await socket.receive()).data == bytes([STDERR])
        await socket.send_bytes(bytes([STDIN]) + b"x")
        await received(socket)


async def test_pings_are_answered_between_messages() -> None:
    async with streaming() as rig, connected(rig.exec_url(), V5) as socket:
        await socket.ping(b"are you there")
        await socket.send_bytes(bytes([STDIN]) + b"x" * 300_000)
        await socket.send_bytes(bytes([CLOSE, STDIN]))
        assert (await received(socket))[STDOUT] == b"x" * 300_000


async def test_a_terminal_follows_the_clients_size() -> None:
    async def wait_size(process: FakeExec) -> None:
        while not process.sizes:
            await asyncio.sleep(0)
        await process.exit(0)

    async with streaming(wait_size) as rig, connected(rig.exec_url(tty=True), V5) as socket:
        await socket.send_bytes(bytes([RESIZE]) + b'{"Width":100,"Height":30}')
        await received(socket)
        assert rig.containers.execs[0].sizes == [(100, 30)]


async def test_a_client_that_leaves_ends_its_process() -> None:
    async def forever(_process: FakeExec) -> None:
        await asyncio.Event().wait()

    async with streaming(forever) as rig:
        async with connected(rig.exec_url(), V5):
            await rig.containers.opened.wait()
        await rig.containers.execs[0].closed.wait()


async def test_attach_shows_and_types() -> None:
    async with streaming() as rig, connected(rig.attach_url(), V5) as socket:
        await rig.containers.opened.wait()
        (streams,) = rig.containers.attached
        await socket.send_bytes(bytes([STDIN]) + b"typed")
        assert await streams.input.read(100) == b"typed"
        await streams.output.write(b"shown")
        await streams.output.close()
        await streams.errors.close()
        assert (await received(socket))[STDOUT] == b"shown"


@pytest.mark.parametrize(
    ("protocol", "message", "code"),
    [
        (V5, bytes([CLOSE]), 1002),
        (V5, bytes([CLOSE, STDIN, 0]), 1002),
        ("v4.base64.channel.k8s.io", b"0!!!!", 1007),
    ],
)
async def test_a_message_that_is_none_ends_the_connection(protocol: str, message: bytes, code: int) -> None:
    async def forever(_process: FakeExec) -> None:
        await asyncio.Event().wait()

    async with streaming(forever) as rig, connected(rig.exec_url(), protocol) as socket:
        await socket.send_bytes(message)
        await received(socket)
        assert socket.close_code == code


async def test_channels_that_nobody_knows_are_ignored() -> None:
    async with streaming() as rig, connected(rig.exec_url(), V5) as socket:
        for message in (b"", bytes([9]) + b"x", bytes([STDOUT]) + b"x", bytes([CLOSE, 9])):
            await socket.send_bytes(message)
        await socket.send_bytes(bytes([CLOSE, STDIN]))
        assert json.loads((await received(socket))[ERROR])["status"] == "Success"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"Sec-WebSocket-Protocol": "v9.channel.k8s.io"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
    ],
)
async def test_a_handshake_that_does_not_fit_is_refused(changes: dict[str, str], answer: int) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"x" * 16).decode(),
    }
    async with (
        streaming() as rig,
        aiohttp.ClientSession() as session,
        session.get(rig.exec_url(), headers={**headers, **changes}) as response,
    ):
        assert response.status == answer
