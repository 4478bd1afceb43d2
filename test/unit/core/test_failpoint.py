"""Failpoints: armed by an environment variable, off otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.failpoint import ENVIRONMENT
from rig.failpoints import failpoints

THREE_STEPS = """
from core.failpoint import failpoint
for _ in range(3):
    try:
        failpoint("a.b.c")
        print("on", flush=True)
    except Exception as exc:
        print(type(exc).__name__, exc, flush=True)
"""


def run(armed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", THREE_STEPS]
    return subprocess.run(command, env={ENVIRONMENT: armed}, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("armed", ["", "x.y.z=kill", "a.b.c=off"])
def test_nothing_happens_unless_the_name_is_armed(armed: str) -> None:
    assert run(armed).stdout == "on\n" * 3


def test_terms_are_done_in_turn_as_often_as_they_say() -> None:
    assert run("a.b.c=1*off->1*error(no luck)").stdout == "on\nInternal failpoint a.b.c: no luck\non\n"


def test_a_kernel_error_carries_its_number() -> None:
    assert run("a.b.c=1*errno(ENOSPC)").stdout.startswith("OSError [Errno 28] No space left on device: 'a.b.c'\non")


def test_kill_ends_the_process_at_that_step() -> None:
    done = run("a.b.c=1*off->kill")
    assert (done.stdout, done.returncode) == ("on\n", -signal.SIGKILL)


def test_a_file_is_read_when_it_is_there_and_gone_when_its_kill_is_done(tmp_path: Path) -> None:
    assert run(f"@{tmp_path / 'armed'}").stdout == "on\n" * 3
    (tmp_path / "armed").write_text("a.b.c=1*off->kill")
    done = run(f"@{tmp_path / 'armed'}")
    assert (done.stdout, done.returncode) == ("on\n", -signal.SIGKILL)
    assert not list(tmp_path.iterdir())


def test_what_a_file_says_happens_once(tmp_path: Path) -> None:
    (tmp_path / "armed").write_text("a.b.c=errno(EIO)")
    assert run(f"@{tmp_path / 'armed'}").stdout == "OSError [Errno 5] Input/output error: 'a.b.c'\non\non\n"


@pytest.mark.parametrize("armed", ["a.b.c", "a.b.c=explode", "a.b.c=x*kill"])
def test_what_cannot_be_read_is_refused(armed: str) -> None:
    assert f"InvalidArgument: {ENVIRONMENT}" in run(armed).stderr


def test_every_name_in_the_code_stands_for_one_step() -> None:
    names = failpoints()
    assert len(names) > 50
    assert len(names) == len(set(names))
