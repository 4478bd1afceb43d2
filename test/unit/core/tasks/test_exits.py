"""Exits are told once, and only those of the task that is there."""

from __future__ import annotations

import pytest

from core.tasks.exits import Exits
from core.tasks.tasks import TaskExit


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def exits(told: list[int]) -> Exits:
    exits = Exits()
    exits.subscribe(lambda exit_: told.append(exit_.pid))
    return exits


def exit_of(pid: int) -> TaskExit:
    return TaskExit(container_id="c", exec_id="", pid=pid, exit_code=137, exited_at=1.0)


def test_the_exit_of_a_task_that_was_deleted_is_not_that_of_the_next_which_is_just_being_created(
    exits: Exits, told: list[int]
) -> None:
    exits.expect("c", "/bundle")
    exits.tell(exit_of(1))
    exits.identify("c", 2)
    assert told == []
    exits.tell(exit_of(2))
    assert told == [2]


def test_an_exit_that_is_faster_than_the_word_of_the_creation_is_told(exits: Exits, told: list[int]) -> None:
    exits.expect("c", "/bundle")
    exits.tell(exit_of(2))
    exits.identify("c", 2)
    exits.tell(exit_of(2))
    assert told == [2]
