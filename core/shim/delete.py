"""The binary's `delete`: end what a shim that died left of one container."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from google.protobuf.timestamp_pb2 import Timestamp

from core.api.task_v3_pb2 import DeleteResponse
from core.errdefs import Internal, NotFound
from core.linux.mount import umount_all
from core.shim.bootstrap import Call
from core.shim.oci_runtime import OciRuntime
from core.shim.reaper import Reaper
from core.shim.record import ExitRecord

KILLED = 128 + signal.SIGKILL


async def delete(call: Call) -> bytes:
    """End the container, take off its mounts and remove the dead shim's socket; return the exit, a DeleteResponse.
    Idempotent."""
    reaper = Reaper()
    reaper.install()
    with contextlib.suppress(NotFound):
        runtime = OciRuntime.load(call.bundle, reaper)
        try:
            await runtime.delete(call.id, force=True)
        except Internal as exc:  # it does not know the container: never created, or deleted by an earlier call
            print(exc, file=sys.stderr)  # noqa: T201 - containerd logs it
    umount_all(os.path.join(call.bundle, "rootfs"))
    if not call.served():  # else it serves other containers of the pod
        with contextlib.suppress(FileNotFoundError):
            os.unlink(call.socket_path())
    exit_ = ExitRecord.load(call.bundle) or ExitRecord(pid=0, exit_code=KILLED, exited_at=time.time())
    exited_at = Timestamp()
    exited_at.FromNanoseconds(int(exit_.exited_at * 1e9))
    reply = DeleteResponse(pid=exit_.pid, exit_status=exit_.exit_code, exited_at=exited_at)
    return reply.SerializeToString()
