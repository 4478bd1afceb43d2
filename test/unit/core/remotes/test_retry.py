import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.remotes.failures import Retriable
from core.remotes.retry import Limits, Retries, retry_after

QUICK = Limits(first_pause=0, longest_pause=0, longest_retry_after=0.05)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("", None), ("soon", None), ("-1", None), ("\u0661", None), ("9" * 5000, 999_999_999), ("Mon,", None)],
)
def test_retry_after_as_a_number(value, seconds):
    assert retry_after({"Retry-After": value}) == seconds


def test_retry_after_as_a_date():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 98 < retry_after({"Retry-After": later}) <= 100
    assert retry_after({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0
    assert retry_after({}) is None


async def test_attempts_are_used_up_unless_there_is_progress():
    retries = Retries(QUICK, 3)
    for _ in range(3):
        await retries.pause(Retriable("x"))
        await retries.pause(Retriable("x"))
        retries.progressed()
    await retries.pause(Retriable("x"))
    await retries.pause(Retriable("x"))
    with pytest.raises(Retriable, match="last"):
        await retries.pause(Retriable("last"))


async def test_what_a_host_asks_for_is_capped():
    started = asyncio.get_running_loop().time()
    await Retries(QUICK, 3).pause(Retriable("x", after=1000))
    assert 0.04 < asyncio.get_running_loop().time() - started < 5
