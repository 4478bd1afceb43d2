"""What can go wrong, as classes that each mean one action to the caller.

They map one to one to gRPC status codes, but only `cri.errors` and `core.ttrpc` know those. The message names the
thing and, where there is one, the remedy.
"""

from __future__ import annotations


class CrispError(Exception):
    """Base of every error that Crisp raises on purpose."""


class InvalidArgument(CrispError):
    """The request is wrong whatever the state of the system: do not retry."""


class NotFound(CrispError):
    """The named thing does not exist."""


class AlreadyExists(CrispError):
    """The name is taken by another thing."""


class FailedPrecondition(CrispError):
    """The thing exists but is in the wrong state: change the state first."""


class PermissionDenied(CrispError):
    """The peer, the registry or the kernel refuses."""


class Unauthenticated(CrispError):
    """Credentials are missing or wrong."""


class ResourceExhausted(CrispError):
    """A limit was reached: disk, quota, message size, sessions."""


class Unavailable(CrispError):
    """A part is not ready now: retry later."""


class DeadlineExceeded(CrispError):
    """The time that was granted is over; the operation was stopped or goes on as the message says."""


class Cancelled(CrispError):
    """The caller went away."""


class Unimplemented(CrispError):
    """This build or this node cannot do it."""


class DataLoss(CrispError):
    """Stored or received bytes are not what their digest or length says."""


class Internal(CrispError):
    """A part below failed in a way that nobody planned for."""
