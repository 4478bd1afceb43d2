"""Failpoints: named steps at which a test makes this process die, fail or wait. Off unless armed.

    CRISP_FAILPOINTS="sandbox.run.attached=2*off->1*kill;pull.synced=error(no space)"

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


_armed = _parse(os.environ.get(ENVIRONMENT, ""))


def failpoint(name: str) -> None:
    """The step `name` has just been done. Raises Internal or OSError when a test wants it."""
    if _armed and name in _armed:
        _act(name, *next(_armed[name], ("off", "")))


def _act(name: str, action: str, argument: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "error":
        raise Internal(f"failpoint {name}: {argument}")
    elif action == "errno":
        code = getattr(errno, argument)
        raise OSError(code, os.strerror(code), name)
    elif action == "sleep":
        time.sleep(int(argument) / 1000)
