from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from cri.streaming.spdy.frames import Data, RstStream, Settings, Status, WindowUpdate
from rig.fake_streams import FakeExec
from rig.spdy_client import HttpClient, SpdyClient, upgrade
from rig.streaming import Rig, streaming

V4 = "v4.channel.k8s.io"
off = asyncio.to_thread


class Kubectl:
    """A client as client-go is one: opens its streams, then waits for their ends."""

    def __init__(self, url: str, version: str = V4, kinds: tuple[str, ...] = ("stdin", "stdout", "stderr")) -> None:
        self.session = SpdyClient(url, version)
        self.ids = {kind: self.session.open(streamtype=kind) for kind in ("error", *kinds)}

    def type(self, data: bytes, *, end: bool = True) -> None:
        self.session.send(Data(stream_id=self.ids["stdin"], data=data, fin=end))

    def result(self, *kinds: str) -> dict[str, bytes]:
        wanted = kinds or tuple(kind for kind in self.ids if kind not in ("stdin", "resize"))
        self.session.until_ended(*(self.ids[kind] for kind in wanted))
        found = {kind: bytes(self.session.data[self.ids[kind]]) for kind in wanted}
        self.session.close()
        return found


def status(result: dict[str, bytes]) -> Any:
    return json.loads(result["error"])


async def fail(process: FakeExec) -> None:
    await process.output.write(b"out")
    await process.errors.write(b"err")
    await process.exit(7)


async def forever(_process: FakeExec) -> None:
    await asyncio.Event().wait()


async def test_stdin_is_half_closed_and_stdout_comes_back() -> None:
    async with streaming() as rig:

        def client() -> dict[str, bytes]:
            kubectl = Kubectl(rig.exec_url())
            kubectl.type(b"hello")
            return kubectl.result()

        result = await off(client)
    assert (result["stdout"], result["stderr"]) == (b"hello", b"")
    assert status(result)["status"] == "Success"


async def test_the_exit_code_is_a_cause_in_the_status() -> None:
    async with streaming(fail) as rig:
        result = await off(lambda: Kubectl(rig.exec_url()).result())
    assert (result["stdout"], result["stderr"]) == (b"out", b"err")
    assert status(result) == {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": "command terminated with exit code 7",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
    }


@pytest.mark.parametrize("version", ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"])
async def test_older_clients_get_the_failure_as_text(version: str) -> None:
    async with streaming(fail) as rig:
        result = await off(lambda: Kubectl(rig.exec_url(), version).result())
    assert result == {"error": b"command terminated with exit code 7", "stdout": b"out", "stderr": b"err"}


async def test_what_cannot_be_run_is_told_in_the_status() -> None:
    async with streaming() as rig:
        rig.containers.running.clear()
        result = await off(lambda: Kubectl(rig.exec_url()).result("error"))
    assert status(result)["reason"] == "InternalError"
    assert "exec in container c1" in status(result)["message"]


async def test_a_terminal_follows_the_clients_size() -> None:
    async def wait_size(process: FakeExec) -> None:
        while not process.sizes:
            await asyncio.sleep(0)
        await process.exit(0)

    async with streaming(wait_size) as rig:

        def client() -> dict[str, bytes]:
            kubectl = Kubectl(rig.exec_url(tty=True), kinds=("stdin", "stdout", "resize"))
            sizes = b'{"Width":1,"Height":1}\n{"Width":120,"Height":40}\n{"Wid'
            kubectl.session.send(Data(stream_id=kubectl.ids["resize"], data=sizes))
            return kubectl.result()

        await off(client)
        (process,) = rig.containers.execs
        assert process.spec.tty
        assert process.sizes == [(120, 40)]


async def test_a_size_that_is_none_is_ignored_and_all_after_it() -> None:
    async with streaming() as rig:

        def client() -> dict[str, bytes]:
            kubectl = Kubectl(rig.exec_url(tty=True), kinds=("stdin", "stdout", "resize"))
            for text in (b'{"Width":-1,"Height":1}', b"\xff", b"x" * 100_000):
                kubectl.session.send(Data(stream_id=kubectl.ids["resize"], data=text))
            kubectl.type(b"fine")
            return kubectl.result()

        assert (await off(client))["stdout"] == b"fine"
        assert not rig.containers.execs[0].sizes


async def test_a_client_that_leaves_ends_its_process() -> None:
    async with streaming(forever) as rig:
        kubectl = await off(Kubectl, rig.exec_url())
        await rig.containers.opened.wait()
        kubectl.session.close()
        await rig.containers.execs[0].closed.wait()


async def test_a_client_that_leaves_while_it_is_held_back_ends_its_process() -> None:
    async with streaming(forever) as rig:
        kubectl = await off(Kubectl, rig.exec_url())
        kubectl.session.socket.settimeout(0.2)

        def fill() -> None:
            with pytest.raises(TimeoutError):
                while True:
                    kubectl.type(bytes(1 << 16), end=False)
            kubectl.session.close()

        await off(fill)
        await rig.containers.execs[0].closed.wait()


async def test_a_client_that_gives_up_stdout_ends_its_process() -> None:
    async def chatter(process: FakeExec) -> None:
        while True:
            await process.output.write(b"x" * 1000)

    async with streaming(chatter) as rig:
        kubectl = await off(Kubectl, rig.exec_url())
        kubectl.session.send(RstStream(stream_id=kubectl.ids["stdout"], status=Status.CANCEL))
        await rig.containers.opened.wait()
        await rig.containers.execs[0].closed.wait()
        kubectl.session.close()


async def test_a_process_that_does_not_read_is_no_hindrance_for_its_output() -> None:
    async def ignore(process: FakeExec) -> None:
        process.input.closed = True  # as when it has closed its stdin
        await process.output.write(b"x" * 3_000_000)
        await process.exit(0)

    async with streaming(ignore) as rig:

        def client() -> dict[str, bytes]:
            kubectl = Kubectl(rig.exec_url())
            for _ in range(64):
                kubectl.type(b"y" * 65536, end=False)
            return kubectl.result()

        assert len((await off(client))["stdout"]) == 3_000_000


async def test_eight_megabytes_pass_through_without_windows_of_the_client() -> None:
    words = os.urandom(8 << 20)
    async with streaming() as rig:
        kubectl = await off(Kubectl, rig.exec_url())

        def send() -> None:
            for at in range(0, len(words), 1 << 16):
                kubectl.type(words[at : at + (1 << 16)], end=False)
            kubectl.type(b"")

        _, result = await asyncio.gather(off(send), off(kubectl.result))
    assert result["stdout"] == words


async def test_a_client_with_windows_gets_no_byte_more_than_it_takes() -> None:
    async def write(process: FakeExec) -> None:
        await process.output.write(b"x" * 200_000)
        await process.exit(0)

    async with streaming(write) as rig:

        def client() -> dict[str, bytes]:
            session = SpdyClient(rig.exec_url(stdin=False, stderr=False), V4)
            session.socket.sendall(Settings(values={7: 1000}).encode())
            error, stdout = session.open(streamtype="error"), session.open(streamtype="stdout")
            received = session.data[stdout]
            session.until(lambda: len(received) >= 1000)
            session.send(WindowUpdate(stream_id=stdout, delta=500))
            session.until(lambda: len(received) >= 1500)
            assert len(received) == 1500
            session.send(WindowUpdate(stream_id=0, delta=1 << 20), WindowUpdate(stream_id=stdout, delta=1 << 20))
            session.until_ended(stdout, error)
            session.close()
            return {"stdout": bytes(received)}

        assert len((await off(client))["stdout"]) == 200_000


async def test_a_client_that_opens_too_few_streams_is_hung_up_on() -> None:
    async with streaming(creation_timeout=0.1) as rig:

        def client() -> bool:
            with SpdyClient(rig.exec_url(), V4) as session:
                session.open(streamtype="error")
                return session.closed()

        assert await off(client)
        assert not rig.containers.execs


async def test_a_client_that_is_idle_is_hung_up_on() -> None:
    async with streaming(forever, idle_timeout=0.2) as rig:
        kubectl = await off(Kubectl, rig.exec_url())
        assert await off(kubectl.session.closed)
        kubectl.session.close()


async def test_attach_ends_with_the_container() -> None:
    async with streaming() as rig:
        kubectl = await off(Kubectl, rig.attach_url())
        await rig.containers.opened.wait()
        (streams,) = rig.containers.attached
        kubectl.type(b"typed", end=False)
        assert await streams.input.read(100) == b"typed"
        await streams.output.write(b"shown")
        await streams.output.close()
        await streams.errors.close()
        result = await off(kubectl.result)
    assert result["stdout"] == b"shown"
    assert status(result)["status"] == "Success"


async def test_attach_without_output_ends_with_the_clients_input() -> None:
    async with streaming() as rig:

        def client() -> dict[str, bytes]:
            kubectl = Kubectl(rig.attach_url(stdout=False, stderr=False), kinds=("stdin",))
            kubectl.type(b"bye")
            return kubectl.result("error")

        assert status(await off(client))["status"] == "Success"
        assert rig.containers.attached[0].input.closed


async def test_a_client_detaches_and_the_others_stay() -> None:
    async with streaming() as rig:
        stays = await off(Kubectl, rig.attach_url())
        await rig.containers.opened.wait()
        rig.containers.opened.clear()
        leaves = await off(Kubectl, rig.attach_url())
        await rig.containers.opened.wait()
        leaves.session.close()
        await rig.containers.attached[1].closed.wait()
        assert not rig.containers.attached[0].closed.is_set()
        stays.session.close()


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (upgrade("v9.channel.k8s.io"), 403),
        ({"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}, 400),
        ({"Connection": "close", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": V4}, 400),
        ({"Connection": "Upgrade", "Upgrade": "h2c", "X-Stream-Protocol-Version": V4}, 400),
        ({**upgrade(V4), "Content-Length": "5"}, 400),
    ],
    ids=["version", "no version", "no upgrade", "other upgrade", "body"],
)
async def test_a_request_that_does_not_fit_is_refused_and_hung_up_on(headers: dict[str, str], answer: int) -> None:
    async with streaming() as rig:

        def client() -> int:
            with HttpClient(rig.exec_url()) as http:
                code, answered = http.ask(headers)
                assert "location" not in answered
                assert http.closed()
            return code

        assert await off(client) == answer


async def test_the_newest_version_that_both_know_is_the_clients_choice() -> None:
    async with streaming() as rig:

        def client() -> str:
            with SpdyClient(rig.exec_url(), "v9.channel.k8s.io", "v3.channel.k8s.io", V4) as session:
                return session.headers["x-stream-protocol-version"]

        assert await off(client) == "v3.channel.k8s.io"


async def test_a_stream_of_no_use_is_refused_and_each_kind_is_taken_once() -> None:
    async with streaming() as rig:

        def client(rig: Rig) -> None:
            kubectl = Kubectl(rig.exec_url())
            for kind in ("stdout", "other", ""):
                stream = kubectl.session.open(streamtype=kind)
                assert kubectl.session.reset[stream] == Status.REFUSED_STREAM
            kubectl.type(b"")
            kubectl.result()

        await off(client, rig)
