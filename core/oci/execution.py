"""What OCI runtimes say when a command cannot be executed, crun and runc each in its own words."""

from __future__ import annotations

import re

from core.errdefs import InvalidArgument

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""What a shell exits with then (POSIX, "Exit Status for Commands")."""

_MISSING = re.compile(r"executable file .*not found|\bexec: \".*\": stat .*: no such file or directory")
_FORBIDDEN = re.compile(r"\b(?:open executable|exec: \".*\")(?:: stat .*)?: (?P<why>[A-Za-z ]+)")


class NotExecutable(InvalidArgument):
    """The container does not have the command, or may not execute it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def not_executable(said: str, command: str) -> NotExecutable | None:
    """What a runtime `said` of the first word of a command, in the form that people know from runc; None when it is
    about something else."""
    if _MISSING.search(said):
        why = "no such file or directory" if "/" in command else "executable file not found in $PATH"
        return NotExecutable(f'exec: "{command}": {why}', NOT_FOUND)
    if found := _FORBIDDEN.search(said):
        return NotExecutable(f'exec: "{command}": {found["why"].lower()}', NOT_EXECUTABLE)
    return None
