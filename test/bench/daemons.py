"""The two daemons of a benchmark, each on directories of its own, with the same OCI runtime and CNI plugins."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rig.cri_client import CriClient


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running daemon: its name in the table, its process and its socket."""

    name: str
    process: subprocess.Popen[bytes]
    socket: str
    shim_pattern: str
    """What the command line of its shims begins with."""

    def client(self) -> CriClient:
        client = CriClient(self.socket)
        client.wait_ready()
        return client

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def cni_conf(directory: Path, name: str, subnet: str) -> Path:
    """The chain that the design's table was measured with: bridge + host-local + portmap, with masquerade."""
    directory.mkdir(parents=True)
    chain = [
        {
            "type": "bridge",
            "bridge": name,
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(directory / "leases"),
                "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    document = {"cniVersion": "1.0.0", "name": name, "plugins": chain}
    (directory / "10-bench.conflist").write_text(json.dumps(document))
    return directory


def start_crisp(base: Path, *, builtin: bool) -> Daemon:
    """crispd as an operator starts it; `builtin` uses the embedded network instead of the plugins."""
    root = base / ("crisp-builtin" if builtin else "crisp")
    conf_dir = root / "net.d" if builtin else cni_conf(root / "net.d", "benchcrisp0", "10.201.0.0/16")
    config = root / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f"""version = 1
root = "{root}/root"
state = "{root}/run"
[grpc]
address = "{root}/run/crisp.sock"
[cni]
conf_dir = "{conf_dir}"
bin_dirs = ["/usr/lib/cni"]
builtin = {str(builtin).lower()}
[runtimes]
default = "crun"
[runtimes.crun]
type = "io.containerd.crisp.v1"
binary = "/usr/bin/crun"
[nri]
enable = false
"""
    )
    return _start("crisp", [sys.executable, "-m", "cri", "--config", str(config)], root, "run/crisp.sock", "crisp-shim")


def start_containerd(base: Path, pause_image: str) -> Daemon:
    """Debian's containerd with crun, its CRI plugin and the same plugins."""
    root = base / "containerd"
    conf_dir = cni_conf(root / "net.d", "benchctd0", "10.202.0.0/16")
    config = root / "config.toml"
    config.write_text(
        f"""version = 2
root = "{root}/root"
state = "{root}/run"
[grpc]
address = "{root}/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause_image}"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{conf_dir}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "/usr/bin/crun"
"""
    )
    command = ["containerd", "--config", str(config)]
    return _start("containerd", command, root, "run/containerd.sock", "/usr/bin/containerd-shim-runc-v2")


def _start(name: str, command: list[str], root: Path, socket: str, shim_pattern: str) -> Daemon:
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    daemon = Daemon(name=name, process=process, socket=str(root / socket), shim_pattern=shim_pattern)
    daemon.client().close()
    return daemon
