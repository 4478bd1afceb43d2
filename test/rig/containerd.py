"""The containerd on PATH (or in $CONTAINERD_BIN, to try another version) on directories of its own, with our shim.

    with running_containerd(tmp_path) as containerd:
        containerd.ctr("task", "ls")          its standard output; it must succeed
        containerd.start("run", …)            a Popen
        containerd.end(signal.SIGKILL); containerd.begin()
        containerd.cri                        the socket's path
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rig.patience import patient

RUNTIME = "io.containerd.crisp.v1"
CONFIG = """version = 2
root = "{base}/root"
state = "{base}/state"
[grpc]
address = "{base}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_tcp_service = true
restrict_oom_score_adj = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{base}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "crisp"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crisp]
runtime_type = "{runtime}"
"""
_START = 20  # seconds


class Containerd:
    def __init__(self, base: Path, pause: str) -> None:
        self.base = base
        self.cri = str(base / "containerd.sock")
        self._process: subprocess.Popen[bytes] | None = None
        binaries = [os.environ.get("CONTAINERD_BIN", ""), str(Path(sys.executable).parent), os.environ["PATH"]]
        self._environment = {**os.environ, "PATH": ":".join(filter(None, binaries))}
        (base / "config.toml").write_text(CONFIG.format(base=base, pause=pause, runtime=RUNTIME))

    def begin(self) -> None:
        with (self.base / "containerd.log").open("ab") as log:
            command = ["containerd", "--config", str(self.base / "config.toml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        deadline = time.monotonic() + _START
        while self.run("version")[0]:
            assert time.monotonic() < deadline, (self.base / "containerd.log").read_text()
            time.sleep(0.05)  # between looks at the condition

    def end(self, signum: int) -> None:
        assert self._process
        self._process.send_signal(signum)
        self._process.wait(timeout=patient(30))

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["ctr", "--address", self.cri, *arguments], env=self._environment, **streams)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*arguments, **streams) as process:
            out, err = process.communicate(timeout=patient(60))
        return process.returncode, out.decode(), err.decode()

    def ctr(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert code == 0, err
        return out


@contextlib.contextmanager
def running_containerd(base: Path, pause: str = "") -> Iterator[Containerd]:
    containerd = Containerd(base, pause)
    containerd.begin()
    try:
        yield containerd
    finally:
        containerd.end(signal.SIGTERM)
