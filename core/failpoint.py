"""Failpoints: named steps at which a test makes this process die, fail or wait. Off unless armed.

    CRISP_FAILPOINTS="sandbox.run.attached=2*off->1*kill;pull.synced=error(no space)"
    CRISP_FAILPOINTS=@FILE    what is in that file, as it is now: for a test that arms what runs already. Whoever dies
                              or fails of it removes it first: it happens once, and the test sees that it did

Per name terms `count*action`, each done `count` times before the next; without a count it is done for ever, and behind
the last term nothing is done. Actions (the grammar of etcd's gofail):

    off           go on
    kill          SIGKILL to this process, as if the power went for it alone
    error(text)   raise Internal with that text
    errno(NAME)   raise OSError as the kernel does: errno(ENOSPC)
    sleep(ms)     block the calling thread

A name says `<noun>.<verb>.<what has just been done>`: a reader sees between which two steps a crash falls.
The environment is read at import; the zygote, and the shims and unpackers that it forks, inherit what crispd has.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Iterator

from core.errdefs import Internal, InvalidArgument

ENVIRONMENT = "CRISP_FAILPOINTS"

_TERM = re.compile(r"(?:(\d+)\*)?(off|kill|error|errno|sleep)(?:\(([^)]*)\))?")
_Term = tuple[int | None, str, str]


def _parse(text: str) -> dict[str, Iterator[tuple[str, str]]]:
    """Raises InvalidArgument."""
    armed = {}
    for item in filter(None, text.split(";")):
        name, _, terms = item.partition("=")
        armed[name] = _actions([_term(item, term) for term in terms.split("->")])
    return armed


def _term(item: str, term: str) -> _Term:
    match = _TERM.fullmatch(term)
    if match is None:
        raise InvalidArgument(f"{ENVIRONMENT}: {item!r}: write name=count*action->…, see core.failpoint")
    return int(match[1]) if match[1] else None, match[2], match[3] or ""


def _actions(terms: list[_Term]) -> Iterator[tuple[str, str]]:
    for count, action, argument in terms:
        done = 0
        while count is None or done < count:
            done += 1
            yield action, argument


_setting = os.environ.get(ENVIRONMENT, "")
_file = _setting[1:] if _setting.startswith("@") else ""
_armed = {} if _file else _parse(_setting)
_read = (0, 0)
"""Which file `_armed` is from: inode and time of its last change."""


def failpoint(name: str) -> None:
    """The step `name` has just been done. Raises Internal or OSError when a test wants it."""
    if _file:
        _read_again()
    if _armed and name in _armed:
        _act(name, *next(_armed[name], ("off", "")))


def _read_again() -> None:
    """See to it that `_armed` is what the file says."""
    global _armed, _read  # noqa: PLW0603 a failpoint is named in one line anywhere, without an object to carry it
    try:
        status = os.stat(_file)
        if (status.st_ino, status.st_mtime_ns) != _read:
            with open(_file, encoding="utf-8") as file:
                _armed = _parse(file.read())
            _read = (status.st_ino, status.st_mtime_ns)
    except FileNotFoundError:
        _armed, _read = {}, (0, 0)


def _act(name: str, action: str, argument: str) -> None:
    if _file and action in ("kill", "error", "errno"):
        try:
            os.unlink(_file)
        except FileNotFoundError:
            return  # another process was first
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "error":
        raise Internal(f"failpoint {name}: {argument}")
    elif action == "errno":
        code = getattr(errno, argument)
        raise OSError(code, os.strerror(code), name)
    elif action == "sleep":
        time.sleep(int(argument) / 1000)
