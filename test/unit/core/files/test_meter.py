import threading
from pathlib import Path

import pytest

from core.files.meter import FRESH, Meter
from rig.node import wait_until

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000 * SECOND
        self.jump = 0
        """What it was set forth by, in nanoseconds."""
        self.holds: list[threading.Event] = []
        """What the next threads of a meter that look at the clock wait for."""

    def __call__(self) -> int:
        if self.holds and threading.current_thread() is not threading.main_thread():
            self.holds.pop().wait(10)
        return self.now + self.jump

    def steady(self) -> float:
        return self.now / SECOND


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    meter = Meter(clock, steady=clock.steady)
    yield meter
    meter.close()
    meter.close()


def first_count(meter: Meter, key: str, path: Path):
    assert meter.usage(key, str(path)) is None
    meter.wait_counted(5)
    return meter.usage(key, str(path))


def wait_again(meter: Meter, key: str, path: Path, inodes: int, **how: int) -> None:
    """Until the tree was counted again; all that was asked for before it is, too."""
    wait_until(lambda: meter.usage(key, str(path), **how).inodes == inodes, "it is counted again")


@pytest.fixture
def other(tmp_path):
    """Another tree, which is never still."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def test_a_tree_is_counted_when_it_is_asked_for(meter, clock, tree):
    (tree / "file").write_bytes(b"x" * 10_000)
    found = first_count(meter, "key", tree)
    assert (found.inodes, found.at) == (2, clock.now)
    assert found.size >= 10_000


def test_a_count_is_good_for_a_while(meter, clock, tree):
    first = first_count(meter, "key", tree)
    (tree / "file").touch()
    clock.now += int((FRESH - 1) * SECOND)
    assert meter.usage("key", str(tree)) == first
    clock.now += 2 * SECOND
    wait_again(meter, "key", tree, 2)


def test_what_does_not_change_any_more_is_counted_once(meter, clock, tree, other):
    first_count(meter, "key", tree)
    first_count(meter, "other", other)
    (tree / "file").touch()
    ended = clock.now + SECOND
    clock.now += 60 * SECOND
    wait_again(meter, "key", tree, 2, still_since=ended)
    for path in (tree, other):
        (path / "more").touch()
    clock.now += 60 * SECOND
    assert meter.usage("key", str(tree), still_since=ended).inodes == 2
    wait_again(meter, "other", other, 2)
    assert meter.usage("key", str(tree), still_since=ended).inodes == 2


@pytest.mark.parametrize("jump", [-365 * 86400 * SECOND, 365 * 86400 * SECOND], ids=["back", "forth"])
def test_a_clock_that_jumps_makes_no_count_older_or_younger(meter, clock, tree, jump):
    """Hazards 3.26."""
    first = first_count(meter, "key", tree)
    (tree / "file").touch()
    clock.jump = jump
    clock.now += int((FRESH - 1) * SECOND)
    assert meter.usage("key", str(tree)) == first
    clock.now += 2 * SECOND
    wait_again(meter, "key", tree, 2)


def test_a_new_tree_does_not_wait_for_a_large_old_one(meter, clock, tree, other):
    first_count(meter, "key", tree)
    clock.now += 60 * SECOND
    gate = threading.Event()
    clock.holds.append(gate)
    meter.usage("key", str(tree))
    wait_until(lambda: not clock.holds, "it is being counted again, and takes long")
    assert first_count(meter, "other", other).inodes == 1
    gate.set()


def test_a_tree_that_is_gone_is_not_waited_for(meter, tmp_path):
    assert first_count(meter, "key", tmp_path / "none") is None
    meter.wait_counted(0)


def test_a_forgotten_tree_is_counted_anew(meter, tmp_path):
    assert first_count(meter, "key", tmp_path) is not None
    meter.keep({"other"})
    assert meter.usage("key", str(tmp_path)) is None


def test_a_large_tree_is_counted_with_rests_and_given_up_at_the_end(clock, tmp_path):
    meter = Meter(clock, steady=clock.steady, work=0, rest=3600)
    assert meter.usage("key", str(tmp_path)) is None
    meter.wait_counted(0.05)
    assert meter.usage("key", str(tmp_path)) is None
    meter.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "meter"]
