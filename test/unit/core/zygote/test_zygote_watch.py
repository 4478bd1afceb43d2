"""A zygote that hangs is noticed, and replaced when it goes on hanging."""

import os
import signal

import pytest

from core.errdefs import DeadlineExceeded
from core.zygote.process import ZygoteProcess
from core.zygote.watch import STRIKES, ZygoteWatch


@pytest.fixture
async def zygote():
    process = ZygoteProcess()
    await process.start()
    yield process
    await process.stop()


async def test_a_zygote_that_goes_on_hanging_is_killed_and_its_successor_works(zygote):
    assert await ZygoteWatch(zygote, 60).check() == ""
    hung = zygote.pid
    os.kill(hung, signal.SIGSTOP)
    watch = ZygoteWatch(zygote, 0.05)
    for _ in range(STRIKES):
        assert zygote.pid == hung
        with pytest.raises(DeadlineExceeded):
            await watch.check()
    assert await ZygoteWatch(zygote, 60).check() == ""
    assert zygote.pid != hung
