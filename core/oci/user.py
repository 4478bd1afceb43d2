"""Who a container's process is: USER of an image or CRI's user, looked up in the image's own files.

These files are hostile (hazards CVE-2026-47262, CVE-2024-9676): they are read through `read_limited`, which resolves
inside the root, takes regular files only and stops at a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.errdefs import InvalidArgument
from core.files.read import read_limited

MAX_ID = 2**31 - 1
"""Above, tools disagree about the sign; runc refuses it, too (hazards CVE-2024-40635)."""
MAX_FILE = 10 << 20
"""Bytes of /etc/passwd and /etc/group: the limit of containerd."""

_NUMBER = re.compile(r"[0-9]+")
_NUMERIC = re.compile(r"[+-]?\d[\d_]*", re.UNICODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplemental groups that /etc/group gives the user."""
    home: str = ""


def resolve(root: str, user: str) -> User:
    """`user` is `name|uid[:group|gid]`, "" for root; looked up in the files of `root`.

    A number is a number: never a name that looks like one. Raises InvalidArgument (out of range, not in the files).
    """
    name, _, group = user.partition(":")
    entry = _find_user(root, name or "0")
    gid = _find_group(root, group) if group else entry.gid
    return User(uid=entry.uid, gid=gid, groups=_groups_of(root, entry.name), home=entry.home)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passwd:
    name: str
    uid: int
    gid: int
    home: str


def number(text: str, what: str) -> int | None:
    """`text` as an id, None when it is a name. Raises InvalidArgument for a number that is no id."""
    if not _NUMERIC.fullmatch(text):
        return None
    if not _NUMBER.fullmatch(text) or len(text) > 10 or int(text) > MAX_ID:
        raise InvalidArgument(f"{what} {text[:64]!r}: an id is 0 to {MAX_ID} in ASCII digits")
    return int(text)


def _find_user(root: str, name: str) -> _Passwd:
    uid = number(name, "user")
    for entry in _passwd(root):
        if entry.uid == uid if uid is not None else entry.name == name:
            return entry
    if uid is None:
        raise InvalidArgument(f"user {name[:64]!r} is not in the image's /etc/passwd")
    return _Passwd(name="", uid=uid, gid=0, home="")


def _find_group(root: str, name: str) -> int:
    gid = number(name, "group")
    if gid is not None:
        return gid
    for fields in _lines(root, "/etc/group", 4):
        if fields[0] == name and (found := number(fields[2], "group")) is not None:
            return found
    raise InvalidArgument(f"group {name[:64]!r} is not in the image's /etc/group")


def _groups_of(root: str, name: str) -> tuple[int, ...]:
    if not name:
        return ()
    found = (fields[2] for fields in _lines(root, "/etc/group", 4) if name in fields[3].split(","))
    return tuple(int(gid) for gid in found if _NUMBER.fullmatch(gid) and int(gid) <= MAX_ID)


def _passwd(root: str) -> Iterator[_Passwd]:
    for fields in _lines(root, "/etc/passwd", 7):
        if all(_NUMBER.fullmatch(text) and len(text) <= 10 and int(text) <= MAX_ID for text in fields[2:4]):
            yield _Passwd(name=fields[0], uid=int(fields[2]), gid=int(fields[3]), home=fields[5])


def _lines(root: str, path: str, fields: int) -> Iterator[list[str]]:
    """The well-formed lines of a colon-separated file, none when it is absent."""
    try:
        text = read_limited(path, MAX_FILE, root=root).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in text.split("\n"):
        parts = line.split(":")
        if len(parts) >= fields:
            yield parts
