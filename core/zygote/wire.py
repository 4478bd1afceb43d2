"""What crispd, the zygote and its children say to each other.

    control  crispd ⇄ zygote   seqpacket; requests carry descriptors, replies come in the order of the requests
    channel  crispd ⇄ child    stream, one per job; lines of JSON: the arguments one way; progress, then the result or
                               an error the other way. The zygote passes it on and never reads it, so its memory stays
                               as it was when it loaded, and the children go on sharing it.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core import errdefs
from core.errdefs import CrispError, Internal

CONTROL_FD = 3  # where the zygote finds its end
MAX_FDS = 253  # SCM_MAX_FD, linux net/scm.h
MAX_REQUEST = 256  # bytes; a job's name
MAX_LINE = 16 << 20  # bytes; a child that reads hostile bytes must not fill the daemon's memory

_REPLY = struct.Struct("=Bii")


class ReplyKind(enum.IntEnum):
    FORKED = 1
    """The next request's child is `pid`, with its pidfd attached; or there is none, for errno `status`."""
    EXITED = 2
    """Child `pid` ended: `status` is its exit code, or minus the signal that killed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    job: str
    detach: bool

    def encode(self) -> bytes:
        return f"{'detach' if self.detach else 'run'} {self.job}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Request:
        verb, _, job = data.decode().partition(" ")
        return cls(job=job, detach=verb == "detach")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    kind: ReplyKind
    pid: int
    status: int = 0

    SIZE = _REPLY.size

    def encode(self) -> bytes:
        return _REPLY.pack(self.kind, self.pid, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Reply:
        kind, pid, status = _REPLY.unpack(data)
        return cls(kind=ReplyKind(kind), pid=pid, status=status)


def encode_line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def describe_error(exc: BaseException) -> Mapping[str, Any]:
    """The message that `raise_error` turns back into an exception of the same class, or Internal."""
    if isinstance(exc, CrispError):
        return {"error": type(exc).__name__, "text": str(exc)}
    return {"error": Internal.__name__, "text": f"{type(exc).__name__}: {exc}"}


def error_of(message: Mapping[str, Any]) -> CrispError:
    """The exception that a child described."""
    kind = getattr(errdefs, str(message["error"]), Internal)
    known = isinstance(kind, type) and issubclass(kind, CrispError)
    return kind(message["text"]) if known else Internal(message["text"])
