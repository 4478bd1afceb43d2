"""How errors travel: a CrispError is a gRPC status code and its message in a ttrpc Response."""

from __future__ import annotations

import errno

from core import errdefs
from core.api.ttrpc_pb2 import Status

# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_ERRORS: dict[int, type[errdefs.CrispError]] = {
    1: errdefs.Cancelled,
    3: errdefs.InvalidArgument,
    4: errdefs.DeadlineExceeded,
    5: errdefs.NotFound,
    6: errdefs.AlreadyExists,
    7: errdefs.PermissionDenied,
    8: errdefs.ResourceExhausted,
    9: errdefs.FailedPrecondition,
    12: errdefs.Unimplemented,
    13: errdefs.Internal,
    14: errdefs.Unavailable,
    15: errdefs.DataLoss,
    16: errdefs.Unauthenticated,
}
_CODES: dict[type[Exception], int] = {error: code for code, error in _ERRORS.items()}
_FULL = {errno.ENOSPC, errno.EDQUOT}
UNKNOWN = 2  # what peers send for errors without a class, and we for exceptions that nobody planned for


def to_status(error: Exception) -> Status:
    if isinstance(error, OSError) and error.errno in _FULL:
        error = errdefs.ResourceExhausted(f"{error}: free some space")
    return Status(code=_CODES.get(type(error), UNKNOWN), message=str(error) or type(error).__name__)


def from_status(status: Status) -> errdefs.CrispError:
    """The error that `status` (code not 0) stands for; codes without a class of ours become Internal."""
    return _ERRORS.get(status.code, errdefs.Internal)(status.message)
