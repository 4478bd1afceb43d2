"""Errors on the CRI wire: one class, one status code."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from core import errdefs
from core.images.verification import Refused
from core.remotes.failures import Unreachable
from cri.grpc.codes import Code

IMAGE_VOLUME_MOUNT_FAILED = "ImageVolumeMountFailed"
_REASONS: Mapping[type[BaseException], str] = {
    Refused: "SignatureValidationFailed: ",
    Unreachable: "RegistryUnavailable: ",
}
"""What a message begins with for the kubelet to show it as the reason (cri-api, pkg/errors)."""

_CODES: tuple[tuple[type[errdefs.CrispError], Code], ...] = (
    (errdefs.InvalidArgument, Code.INVALID_ARGUMENT),
    (errdefs.NotFound, Code.NOT_FOUND),
    (errdefs.AlreadyExists, Code.ALREADY_EXISTS),
    (errdefs.FailedPrecondition, Code.FAILED_PRECONDITION),
    (errdefs.PermissionDenied, Code.PERMISSION_DENIED),
    (errdefs.Unauthenticated, Code.UNAUTHENTICATED),
    (errdefs.ResourceExhausted, Code.RESOURCE_EXHAUSTED),
    (errdefs.Unavailable, Code.UNAVAILABLE),
    (errdefs.DeadlineExceeded, Code.DEADLINE_EXCEEDED),
    (errdefs.Cancelled, Code.CANCELLED),
    (errdefs.Unimplemented, Code.UNIMPLEMENTED),
    (errdefs.DataLoss, Code.DATA_LOSS),
    (errdefs.Internal, Code.INTERNAL),
)
_FULL = {errno.ENOSPC, errno.EDQUOT}


def status_of(exc: BaseException) -> tuple[Code, str]:
    """Status code and message for any exception; UNKNOWN for one that nobody planned for."""
    message = _REASONS.get(type(exc), "") + (str(exc) or type(exc).__name__)
    for kind, code in _CODES:
        if isinstance(exc, kind):
            return code, message
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return Code.RESOURCE_EXHAUSTED, f"{message}: free some space"
    return Code.UNKNOWN, f"{type(exc).__name__}: {message}"
