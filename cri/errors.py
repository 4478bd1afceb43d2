"""Errors on the CRI wire: one class, one status code."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import grpc

from core import errdefs
from core.images.verification import Refused
from core.remotes.failures import Unreachable

IMAGE_VOLUME_MOUNT_FAILED = "ImageVolumeMountFailed"
_REASONS: Mapping[type[BaseException], str] = {
    Refused: "SignatureValidationFailed: ",
    Unreachable: "RegistryUnavailable: ",
}
"""What a message begins with for the kubelet to show it as the reason (cri-api, pkg/errors)."""

_CODES: tuple[tuple[type[errdefs.CrispError], grpc.StatusCode], ...] = (
    (errdefs.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errdefs.NotFound, grpc.StatusCode.NOT_FOUND),
    (errdefs.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errdefs.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errdefs.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errdefs.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errdefs.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errdefs.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errdefs.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errdefs.Cancelled, grpc.StatusCode.CANCELLED),
    (errdefs.Unimplemented, grpc.StatusCode.UNIMPLEMENTED),
    (errdefs.DataLoss, grpc.StatusCode.DATA_LOSS),
    (errdefs.Internal, grpc.StatusCode.INTERNAL),
)
_FULL = {errno.ENOSPC, errno.EDQUOT}


def status_of(exc: BaseException) -> tuple[grpc.StatusCode, str]:
    """Status code and message for any exception; UNKNOWN for one that nobody planned for."""
    message = _REASONS.get(type(exc), "") + (str(exc) or type(exc).__name__)
    for kind, code in _CODES:
        if isinstance(exc, kind):
            return code, message
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return grpc.StatusCode.RESOURCE_EXHAUSTED, f"{message}: free some space"
    return grpc.StatusCode.UNKNOWN, f"{type(exc).__name__}: {message}"
