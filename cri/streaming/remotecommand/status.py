"""How an exec or attach ended, as Kubernetes' metav1.Status on the error stream."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    message: str = ""
    """"" for success."""
    exit_code: int | None = None
    """Of a command that ran; None when it could not be run or attached to."""

    def json(self) -> bytes:
        """The form of v4.channel.k8s.io and newer."""
        if not self.message:
            return json.dumps({"metadata": {}, "status": "Success"}).encode()
        failure = {"metadata": {}, "status": "Failure", "message": self.message}
        if self.exit_code is None:
            return json.dumps({**failure, "reason": "InternalError", "code": 500}).encode()
        causes = [{"reason": "ExitCode", "message": str(self.exit_code)}]
        return json.dumps({**failure, "reason": "NonZeroExitCode", "details": {"causes": causes}}).encode()

    def text(self) -> bytes:
        """The form of the protocols before v4: nothing for success."""
        return self.message.encode()


SUCCESS = Status()


def exited(code: int) -> Status:
    """`code` is 0-255."""
    return Status(message=f"command terminated with exit code {code}" if code else "", exit_code=code)


def failed(what: str) -> Status:
    return Status(message=f"Internal error occurred: {what}")
