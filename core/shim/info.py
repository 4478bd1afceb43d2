"""The binary's `-info` and `-v`."""

from __future__ import annotations

import subprocess
from importlib import metadata

from google.protobuf.any_pb2 import Any

from core.api.runc_options_pb2 import Options
from core.api.types_pb2 import RuntimeInfo, RuntimeVersion
from core.shim.task_service import DEFAULT_RUNTIME

NAME = "io.containerd.crisp.v1"
FEATURES = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
"""Type URL of the OCI runtime's features document, which is JSON (OCI runtime-spec, features.md)."""
ANSWER = 10.0
"""Seconds for the OCI runtime to print it."""


def version() -> str:
    return metadata.version("crispd")


def runtime_info(packed: bytes) -> bytes:
    """A RuntimeInfo for the runtime with the options in `packed`, an Any, b"" for none."""
    options = Any.FromString(packed)
    info = RuntimeInfo(name=NAME, version=RuntimeVersion(version=version()), options=options if packed else None)
    features = _features(Options.FromString(options.value).binary_name or DEFAULT_RUNTIME)
    if features:
        info.features.type_url = FEATURES
        info.features.value = features
    return info.SerializeToString()


def _features(binary: str) -> bytes:
    """b"" for a runtime that is older than the command."""
    try:
        done = subprocess.run([binary, "features"], capture_output=True, check=True, timeout=ANSWER)
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout
