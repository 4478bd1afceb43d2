"""A few crash points of `make crash`, at random: the seed is in the output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

POINTS = 20
"""One takes one to five seconds; `make crash` takes a thousand."""


@pytest.mark.timeout(300)
def test_nothing_is_lost_left_or_doubled_by_crashes_at_random_steps() -> None:
    here = Path(__file__).parent
    command = [here / "alone", sys.executable, here / "crash.py", "--points", str(POINTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
