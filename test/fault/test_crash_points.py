"""A few crash points of `make crash`, at random: the seed is in the output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

FIRST = {
    "3.1": ("shim.start.directory", "sandbox.run.started"),
    "3.2": ("cni.add.recorded", "cni.add.attached", "bridge.attach.linked"),
    "3.3": ("shim.start.forked", "zygote.fork.forked"),
    "3.4": ("bundle.prepare.snapshot", "container.create.prepared"),
    "3.5": ("container.start.created", "container.start.recorded"),
    "3.6": ("pull.documents", "snapshot.commit.renamed"),
    "3.7": ("sandbox.stop.detached", "container.remove.task", "sandbox.remove.removed"),
    "3.8": ("shim.exit.seen",),
}
"""Steps at which each run crashes, by their rows in the fault model (hazards 3.1 to 3.8)."""
POINTS = 28
"""With those at random. One takes a second or two; `make crash` takes a thousand."""


@pytest.mark.timeout(300)
def test_nothing_is_lost_left_or_doubled_by_crashes_at_any_step() -> None:
    first = [name for names in FIRST.values() for name in names]
    command = [sys.executable, Path(__file__).with_name("crash.py"), "--points", str(POINTS), "--nodes", "2"]
    command += ["--first", ",".join(first)]
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
    missed = done.stdout.rpartition("never reached: ")[2].strip().split(", ")
    assert not set(first).intersection(missed)
