"""A few crash points of `make crash`, at random: the seed is in the output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

POINTS = 24
"""One takes a second or two; `make crash` takes a thousand."""


@pytest.mark.timeout(300)
def test_nothing_is_lost_left_or_doubled_by_crashes_at_random_steps() -> None:
    command = [sys.executable, Path(__file__).with_name("crash.py"), "--points", str(POINTS), "--nodes", "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'test'}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
