"""Who a container's process is: USER of an image or CRI's user, looked up in the image's own files.

These files are hostile (hazards CVE-2026-47262, CVE-2024-9676): they are read through `read_limited`, which resolves
inside the root, takes regular files only and stops at a limit; and they are searched for the wanted lines only, since
10 MiB of lines are a hundred as Python objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errdefs import InvalidArgument
from core.files.read import read_limited

MAX_ID = 2**31 - 1
"""Above, tools disagree about the sign; runc refuses it, too (hazards CVE-2024-40635)."""
MAX_FILE = 10 << 20
"""Bytes of /etc/passwd and /etc/group: the limit of containerd."""
MAX_GROUPS = 65536
"""NGROUPS_MAX, linux/limits.h: setgroups(2) takes no more."""

_ID = re.compile(r"[0-9]{1,10}")
_LIKE_A_NUMBER = re.compile(r"[+-]?\d[\d_]*")  # what int() would take, and more: none of it is ever a name
_ANY = b"[^:\n]*+"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplemental groups that /etc/group gives the user."""
    home: str = ""
    """Empty when /etc/passwd has none that an environment could hold."""


def resolve(root: str, user: str) -> User:
    """`user` is `name|uid[:group|gid]`, "" for root; looked up in the files of `root`.

    A number is a number: never a name that looks like one (CVE-2026-46680). Raises InvalidArgument (out of range, not
    in the files, a file that is none), ResourceExhausted (a file above MAX_FILE).
    """
    wanted, _, group = user.partition(":")
    name, uid, gid, home = _find_user(_read(root, "/etc/passwd"), wanted or "0")
    groups = _read(root, "/etc/group") if group or name else b""
    return User(
        uid=uid,
        gid=_find_group(groups, group) if group else gid,
        groups=_groups_of(groups, name) if name else (),
        home=home,
    )


def id_number(text: str, what: str) -> int | None:
    """`text` as an id, None when it is a name. Raises InvalidArgument for a number that is no id."""
    if not _LIKE_A_NUMBER.fullmatch(text):
        return None
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        raise InvalidArgument(f"{what} {text[:64]!r}: an id is 0 to {MAX_ID} in ASCII digits")
    return int(text)


def _find_user(passwd: bytes, wanted: str) -> tuple[bytes, int, int, str]:
    """Name, uid, gid and home in the first well-formed line of `wanted` (man 5 passwd)."""
    uid = id_number(wanted, "user")
    name, number = (_ANY, b"0*+%d" % uid) if uid is not None else (_literal(wanted), b"[0-9]{1,10}")
    line = b"^(%b):%b:(%b):([0-9]{1,10}):%b:(%b):" % (name, _ANY, number, _ANY, _ANY)
    for found in re.finditer(line, passwd, re.MULTILINE):
        if int(found[2]) <= MAX_ID and int(found[3]) <= MAX_ID:
            return found[1], int(found[2]), int(found[3]), _text(found[4])
    if uid is None:
        raise InvalidArgument(f"user {wanted[:64]!r} is not in the image's /etc/passwd")
    return b"", uid, 0, ""


def _find_group(groups: bytes, wanted: str) -> int:
    gid = id_number(wanted, "group")
    if gid is not None:
        return gid
    line = b"^%b:%b:([0-9]{1,10}):" % (_literal(wanted), _ANY)
    for found in re.finditer(line, groups, re.MULTILINE):
        if int(found[1]) <= MAX_ID:
            return int(found[1])
    raise InvalidArgument(f"group {wanted[:64]!r} is not in the image's /etc/group")


def _groups_of(groups: bytes, member: bytes) -> tuple[int, ...]:
    """The ids of well-formed lines that have `member` in their list (man 5 group), each once."""
    line = b"^%b:%b:([0-9]{1,10}):(?:[^:\n]*,)?%b(?=[,:\n]|\\Z)" % (_ANY, _ANY, re.escape(member))
    ids: dict[int, None] = {}
    for found in re.finditer(line, groups, re.MULTILINE):
        if int(found[1]) <= MAX_ID:
            ids[int(found[1])] = None
        if len(ids) > MAX_GROUPS:
            raise InvalidArgument(f"the image's /etc/group puts one user into more than {MAX_GROUPS} groups")
    return tuple(ids)


def _literal(name: str) -> bytes:
    """A pattern of `name` itself; of nothing when it could not stand in one field of one line."""
    return b"(?!)" if "\n" in name or ":" in name else re.escape(name.encode())


def _read(root: str, path: str) -> bytes:
    """b"" when there is no such file."""
    try:
        return read_limited(path, MAX_FILE, root=root)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as exc:  # a loop of links, a name that is too long: the image's doing
        raise InvalidArgument(f"the image's {path}: {exc.strerror}") from exc


def _text(raw: bytes) -> str:
    try:
        return "" if b"\0" in raw else raw.decode()
    except UnicodeDecodeError:
        return ""
