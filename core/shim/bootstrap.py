"""How containerd calls a shim's binary, and what it wants to read (containerd, core/runtime/v2/README.md, "Commands").

Since 2.3 everything comes as one message on stdin and one goes back; before, as flags and environment, and the answer
is the bare address. Newer ones still give the flags, too, and older ones have another message on stdin: the runtime's
options.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from core.api.bootstrap_pb2 import BootstrapParams, BootstrapResult
from core.errdefs import InvalidArgument

SOCKET_DIR = "/run/containerd/s"
"""Where shims' sockets are unless containerd names a directory: a bundle's path can be longer than an address."""
GROUP = "io.kubernetes.cri.sandbox-id"
"""The annotation that containers of one pod share, by containerd's CRI plugin: they share a shim, too."""
TASK_API = 3
"""Of BootstrapResult: the newest version of the task service. Who only gets an address uses version 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the binary."""

    id: str
    namespace: str
    bundle: str
    containerd: str
    """Its gRPC socket."""
    events: str
    """The ttrpc socket of its events service."""
    socket_dir: str = SOCKET_DIR
    debug: bool = False
    bootstrap: bool = False
    """Whether the caller reads a BootstrapResult."""

    def answer(self, socket_path: str) -> bytes:
        """What `start` writes to stdout."""
        address = f"unix://{socket_path}"
        if not self.bootstrap:
            return address.encode()
        return BootstrapResult(version=TASK_API, address=address, protocol="ttrpc").SerializeToString()

    def socket_path(self) -> str:
        """One for all containers of a pod; no other shim's, no other containerd's."""
        name = f"crisp {self.containerd} {self.namespace} {self.group()}"
        return os.path.join(self.socket_dir, hashlib.sha256(name.encode()).hexdigest())


    def served(self) -> bool:
        """Whether a shim answers at the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.socket_path())
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        return True

    def group(self) -> str:
        """The pod that the container is of; itself without one."""
        try:
            with open(os.path.join(self.bundle, "config.json"), "rb") as file:
                annotations = json.load(file).get("annotations") or {}
        except FileNotFoundError:  # a bundle that is half removed
            return self.id
        return str(annotations.get(GROUP, self.id))


def flags() -> argparse.ArgumentParser:
    """As Go's flag package reads them: one dash or two."""
    parser = argparse.ArgumentParser(prog="containerd-shim-crisp-v1", allow_abbrev=False)
    for name in ("namespace", "id", "address", "publish-binary", "bundle"):
        parser.add_argument(f"-{name}", f"--{name}", default="")
    for name in ("debug", "info", "v"):
        parser.add_argument(f"-{name}", f"--{name}", action="store_true")
    parser.add_argument("action", nargs="?", choices=("start", "delete"))
    return parser


def read_call(given: argparse.Namespace, environment: Mapping[str, str], stdin: bytes, cwd: str) -> Call:
    """Raises InvalidArgument."""
    if not (given.action and given.id and given.namespace):
        raise InvalidArgument("containerd calls this with -namespace, -id and start or delete, and one is missing")
    params = _params(stdin)
    bootstrap = (params.instance_id, params.namespace) == (given.id, given.namespace)
    if not bootstrap:
        params = BootstrapParams()
    return Call(
        id=given.id,
        namespace=given.namespace,
        bundle=given.bundle or cwd,
        containerd=params.containerd_grpc_address or given.address,
        events=params.containerd_ttrpc_address or environment.get("TTRPC_ADDRESS", ""),
        socket_dir=params.socket_dir or SOCKET_DIR,
        debug=given.debug,
        bootstrap=bootstrap,
    )


def _params(stdin: bytes) -> BootstrapParams:
    try:
        return BootstrapParams.FromString(stdin)
    except DecodeError:
        return BootstrapParams()

