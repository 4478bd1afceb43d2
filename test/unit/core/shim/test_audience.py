import asyncio
import os
from pathlib import Path

import pytest

from core.errdefs import CrispError, ResourceExhausted
from core.shim.audience import Audience, Outlet
from core.shim.backlog import MAX_BACKLOG

MORE_THAN_A_PIPE = os.urandom(1 << 20)


class Client:
    def __init__(self, audience: Audience, directory: Path) -> None:
        self.dropped: list[tuple[CrispError, bool]] = []
        self.outlet: Outlet = audience.join(str(directory), self._drop)
        self.fd = os.dup(self.outlet.read_end)
        self.outlet.close_read_end()

    def _drop(self, error: CrispError) -> None:
        self.dropped.append((error, self.outlet.finished.done()))

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := await asyncio.to_thread(os.read, self.fd, size - len(data))):
            data += piece
        return data

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def audience() -> Audience:
    return Audience()


async def test_clients_get_what_comes_after_them_and_the_end(audience: Audience, tmp_path: Path) -> None:
    early = Client(audience, tmp_path)
    audience.feed(b"one")
    late = Client(audience, tmp_path)
    audience.feed(b"two")
    audience.feed(b"")
    after = Client(audience, tmp_path)
    assert [await client.read(100) for client in (early, late, after)] == [b"onetwo", b"two", b""]
    for client in (early, late, after):
        await client.outlet.finished
        client.close()


async def test_a_slow_client_gets_everything_in_order_in_the_end(audience: Audience, tmp_path: Path) -> None:
    slow = Client(audience, tmp_path)
    for _ in range(3):
        audience.feed(MORE_THAN_A_PIPE)
    audience.feed(b"tail")
    audience.feed(b"")
    assert os.listdir(tmp_path) == []
    assert not slow.outlet.finished.done()
    assert await slow.read(4 << 20) == MORE_THAN_A_PIPE * 3 + b"tail"
    await slow.outlet.finished
    slow.close()


async def test_a_client_that_has_caught_up_may_fall_behind_again(audience: Audience, tmp_path: Path) -> None:
    client = Client(audience, tmp_path)
    for _ in range(3):
        audience.feed(MORE_THAN_A_PIPE)
        assert await client.read(len(MORE_THAN_A_PIPE)) == MORE_THAN_A_PIPE
    client.outlet.close()
    client.close()


async def test_a_client_too_far_behind_is_told_and_then_cut_off(audience: Audience, tmp_path: Path) -> None:
    slow = Client(audience, tmp_path)
    for _ in range((MAX_BACKLOG >> 20) + 2):
        audience.feed(MORE_THAN_A_PIPE)
    [(error, ended)] = slow.dropped
    assert isinstance(error, ResourceExhausted)
    assert not ended
    assert slow.outlet.finished.done()
    assert await slow.read(2 << 20) == MORE_THAN_A_PIPE[: 256 << 10]
    slow.close()


async def test_a_full_disk_cuts_the_slow_client_off_only(audience: Audience, tmp_path: Path) -> None:
    slow, quick = Client(audience, tmp_path / "absent"), Client(audience, tmp_path)
    audience.feed(MORE_THAN_A_PIPE)
    assert [type(error) for error, _ in slow.dropped] == [ResourceExhausted]
    assert await quick.read(len(MORE_THAN_A_PIPE)) == MORE_THAN_A_PIPE
    for client in (slow, quick):
        client.outlet.close()
        client.close()


async def test_a_client_that_closes_its_pipe_is_forgotten(audience: Audience, tmp_path: Path) -> None:
    gone, behind, other = (Client(audience, tmp_path) for _ in range(3))
    gone.close()
    audience.feed(MORE_THAN_A_PIPE)
    behind.close()
    assert await other.read(len(MORE_THAN_A_PIPE)) == MORE_THAN_A_PIPE
    for client in (gone, behind):
        await client.outlet.finished
        assert not client.dropped
    audience.feed(b"")
    assert await other.read(1) == b""
    other.close()
