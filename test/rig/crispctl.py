"""crispctl as its user has it: the installed command, on pipes or a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from rig.node import Node
from rig.patience import patient

CRISPCTL = Path(sys.executable).parent / "crispctl"


class Crispctl:
    """`ctl("ps", "--all")` is its standard output; it must succeed, unless another exit code is expected."""

    def __init__(self, node: Node) -> None:
        self._environment = {
            **os.environ,
            "CRISP_ADDRESS": f"unix://{node.base}/run/crisp.sock",
            "CRISP_LOG_ROOT": str(node.logs),
            "COLUMNS": "120",
        }

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        streams.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([CRISPCTL, *arguments], env=self._environment, **streams)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=patient(60))
        return process.returncode, out.decode(), err.decode()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        got, out, err = self.run(*arguments)
        assert got == code, err
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def fails(self, *arguments: str) -> str:
        """What it says on stderr when it exits with 1."""
        code, _, err = self.run(*arguments)
        assert code == 1
        return err


def on_terminal(ctl: Crispctl, *arguments: str) -> tuple[BinaryIO, subprocess.Popen[bytes]]:
    """The command with a terminal for its output, and what comes out of that."""
    ours, theirs = pty.openpty()
    process = ctl.start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return open(ours, "rb", buffering=0), process


def read_until(terminal: BinaryIO, wanted: bytes) -> bytes:
    """What comes, colours taken off, until there is `wanted`; all of it, and the terminal closed, for b""."""
    shown, deadline = b"", time.monotonic() + patient(20)
    with contextlib.suppress(OSError):  # EIO: the last process has closed it
        while not (wanted and wanted in shown):
            assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], shown[-2000:]
            shown = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown + terminal.read(65536))
        return shown
    terminal.close()
    assert not wanted, shown
    return shown
