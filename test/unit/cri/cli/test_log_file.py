from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from cri.cli import log_file


def entries(*texts: str, tag: str = "F") -> bytes:
    return b"".join(f"t stdout {tag} {text}\n".encode() for text in texts)


def steps(*actions: Callable[[], object]) -> Callable[[], bool]:
    """A `more` that does one action a call, and is false when all are done."""
    left = list(actions)

    def more() -> bool:
        if left:
            left.pop(0)()
            return True
        return False

    return more


@pytest.mark.parametrize("lines", [0, 1, 3, 10_000])
def test_the_tail_begins_at_the_last_lines_even_over_many_chunks(lines: int) -> None:
    data = entries(*map(str, range(9_999)))
    start = log_file.tail_start(io.BytesIO(data), lines)
    assert data[start:] == entries(*map(str, range(max(0, 9_999 - lines), 9_999)))


def test_the_parts_of_a_long_line_count_as_one() -> None:
    data = entries("before") + entries("a", "b", tag="P") + entries("end") + entries("last")
    start = log_file.tail_start(io.BytesIO(data), 2)
    assert data[start:] == data.removeprefix(entries("before"))


def test_following_reads_a_rotated_file_to_its_end_and_then_its_successor(tmp_path: Path) -> None:
    path, old = tmp_path / "0.log", tmp_path / "0.log.1"
    path.write_bytes(entries("one"))

    def rotate() -> None:
        path.rename(old)
        with old.open("ab") as file:
            file.write(entries("two"))

    def reopen() -> None:
        with old.open("ab") as file:
            file.write(entries("three"))
        path.write_bytes(entries("four"))

    read = b"".join(log_file.read(str(path), None, steps(lambda: None, rotate, reopen)))
    assert read == entries("one", "two", "three", "four")


def test_following_waits_for_the_file_and_without_more_to_come_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    more = steps(lambda: None, lambda: path.write_bytes(entries("late")))
    assert b"".join(log_file.read(str(path), None, more)) == entries("late")
    with pytest.raises(FileNotFoundError):
        list(log_file.read(str(tmp_path / "none"), None, steps()))
