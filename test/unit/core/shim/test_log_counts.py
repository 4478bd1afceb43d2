"""Counts of log entries, from the formatter to the file that others read."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from core.shim.log_counts import LogCounter, LogCounts, read_counts
from core.shim.log_format import LogFormatter
from core.shim.logs import LogFile
from core.shims.log_totals import LogTotals


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        ([b"one\ntwo\n"], (2, 0)),
        ([b"on", b"e\n"], (1, 0)),
        ([b"x" * 25 + b"\n"], (3, 2)),
        ([b"a\n" + b"x" * 10 + b"\n\n"], (3, 0)),
        ([b"x" * 25], (3, 3)),  # the rest is told at the end, as a part
    ],
)
def test_entries_and_parts_are_counted_as_they_are_made(pieces: list[bytes], made: tuple[int, int]) -> None:
    formatter = LogFormatter("stdout", max_line=10)
    entries = b"".join(formatter.feed(piece, b"T") for piece in pieces) + formatter.finish(b"T")
    assert formatter.made() == made
    assert (entries.count(b"\n"), entries.count(b" P ")) == made
    assert formatter.made() == (0, 0)


def test_what_is_written_is_counted_in_a_file_that_outlives_the_counter(tmp_path: Path) -> None:
    counter = LogCounter(str(tmp_path))
    log = LogFile(str(tmp_path / "log"), counter)
    log.write(b"T stdout F one\n", 1, 0)
    log.write(b"T stdout P two\n", 1, 1)
    assert read_counts(str(tmp_path)) == LogCounts(bytes=30, lines=2, split=1, dropped=0)
    log.close()
    counter.close()
    counter.add(1, 1, 1, 1)  # a late writer does not hurt
    assert read_counts(str(tmp_path)).bytes == 30


def test_what_cannot_be_written_is_counted_as_dropped(tmp_path: Path) -> None:
    counter = LogCounter(str(tmp_path))
    log = LogFile(str(tmp_path / "log"), counter)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    log.write(b"12345\n", 1, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_counts(str(tmp_path)) == LogCounts(bytes=0, lines=1, split=0, dropped=6)
    log.close()
    counter.close()


def test_a_directory_without_counts_has_none(tmp_path: Path) -> None:
    assert read_counts(str(tmp_path / "none")) == LogCounts(0, 0, 0, 0)
    (tmp_path / "log.counts").write_bytes(b"short")
    assert read_counts(str(tmp_path)) == LogCounts(0, 0, 0, 0)


def test_totals_never_fall_when_a_shim_goes(tmp_path: Path) -> None:
    counters = {}
    for name in "ab":
        (tmp_path / name).mkdir()
        counters[name] = LogCounter(str(tmp_path / name))
        counters[name].add(10, 1, 0, 0)
    totals = LogTotals()
    both = {name: str(tmp_path / name) for name in "ab"}
    assert totals.look(both).bytes == 20
    counters["a"].add(5, 1, 0, 0)
    assert totals.look(both).bytes == 25
    assert totals.look({"a": both["a"]}).bytes == 25
    assert totals.look({}).bytes == 25
    for counter in counters.values():
        counter.close()
