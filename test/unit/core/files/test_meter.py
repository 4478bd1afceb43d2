import threading
from pathlib import Path

import pytest

from core.files.meter import FRESH, Meter

SECOND = 1_000_000_000


class Clock:
    now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    meter = Meter(clock)
    yield meter
    meter.close()
    meter.close()


def counted(meter: Meter, path: Path, **how: int):
    """The count after one that this call may have asked for."""
    meter.usage("key", str(path), **how)
    meter.wait_counted(5)
    return meter.usage("key", str(path), **how)


def test_a_tree_is_counted_when_it_is_asked_for(meter, clock, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    assert meter.usage("key", str(tmp_path)) is None
    meter.wait_counted(5)
    found = meter.usage("key", str(tmp_path))
    assert (found.inodes, found.at) == (2, clock.now)
    assert found.size >= 10_000


def test_a_count_is_good_for_a_while(meter, clock, tmp_path):
    first = counted(meter, tmp_path)
    (tmp_path / "file").touch()
    clock.now += int((FRESH - 1) * SECOND)
    assert counted(meter, tmp_path) == first
    clock.now += 2 * SECOND
    assert counted(meter, tmp_path).inodes == 2


def test_what_does_not_change_any_more_is_counted_once(meter, clock, tmp_path):
    counted(meter, tmp_path)
    (tmp_path / "file").touch()
    ended = clock.now + SECOND
    clock.now += 60 * SECOND
    assert counted(meter, tmp_path, still_since=ended).inodes == 2
    (tmp_path / "more").touch()
    clock.now += 60 * SECOND
    assert counted(meter, tmp_path, still_since=ended).inodes == 2


def test_a_tree_that_is_gone_is_not_waited_for(meter, tmp_path):
    assert counted(meter, tmp_path / "none") is None
    meter.wait_counted(0)


def test_a_forgotten_tree_is_counted_anew(meter, tmp_path):
    assert counted(meter, tmp_path) is not None
    meter.keep({"other"})
    assert meter.usage("key", str(tmp_path)) is None


def test_a_large_tree_is_counted_with_rests_and_given_up_at_the_end(clock, tmp_path):
    meter = Meter(clock, work=0, rest=3600)
    assert meter.usage("key", str(tmp_path)) is None
    meter.wait_counted(0.05)
    assert meter.usage("key", str(tmp_path)) is None
    meter.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "meter"]
