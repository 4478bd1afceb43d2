import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from core.shim.family import Relation, family, kill_family, relations

TREE = "(sleep 1001 & sleep 1002) & setsid sleep 1003 & echo ready; exec sleep 1004"


def one(pid: int, parent: int, session: int) -> Relation:
    return Relation(pid=pid, parent=parent, session=session, start_time=0)


def test_a_family_is_the_session_and_all_descendants() -> None:
    relatives = [
        one(10, 1, 10),
        one(14, 13, 13),
        one(13, 12, 13),
        one(11, 10, 10),
        one(12, 1, 10),
        one(20, 1, 20),
        one(21, 20, 20),
    ]
    assert sorted(member.pid for member in family(10, relatives)) == [10, 11, 12, 13, 14]


def test_a_leader_that_is_gone_still_has_its_session() -> None:
    assert [member.pid for member in family(10, [one(11, 1, 10), one(12, 1, 12)])] == [11]


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sh", "-c", TREE], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_killing_a_family_ends_every_member_and_nobody_else(shell: "subprocess.Popen[bytes]") -> None:
    with subprocess.Popen(["sleep", "1005"]) as stranger:
        kill_family(shell.pid, everybody)
        assert shell.wait(20) == -signal.SIGKILL
        assert shell.stdout
        assert shell.stdout.read() == b""  # ends when the last holder does
        assert stranger.poll() is None
        stranger.kill()


def everybody() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def test_processes_that_are_gone_have_no_relations() -> None:
    assert relations([os.getpid(), 1 << 22]) == [Relation.of(os.getpid())]
