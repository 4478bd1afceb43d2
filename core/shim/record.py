"""Exit records: what is left of a process for whoever asks later, on disk until the container is deleted."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass

from core.files.atomic import write_atomic

FILE = "exit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    pid: int
    exit_code: int
    """0-255; 128 + signal for a process that a signal ended."""
    exited_at: float
    """Seconds since the epoch."""
    oom_killed: bool = False

    @classmethod
    def now(cls, pid: int, exit_code: int, *, oom_killed: bool = False) -> ExitRecord:
        return cls(pid=pid, exit_code=exit_code, exited_at=time.time(), oom_killed=oom_killed)

    @classmethod
    def load(cls, bundle: str) -> ExitRecord | None:
        """What `save` wrote, None when nothing."""
        try:
            with open(os.path.join(bundle, FILE), "rb") as file:
                return cls(**json.load(file))
        except FileNotFoundError:
            return None

    def save(self, bundle: str) -> None:
        """Write it into the bundle, synced: an exit while no daemon runs must not be lost."""
        write_atomic(os.path.join(bundle, FILE), json.dumps(asdict(self)).encode())
