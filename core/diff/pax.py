"""PAX extended headers: records of `length key=value\\n`. Source: POSIX.1-2017, pax, "pax Extended Header"."""

from __future__ import annotations

from core.errdefs import DataLoss

MAX_PAX = 1 << 20  # bytes of one extended header; the same as Go's archive/tar, which wrote most layers
_LENGTH_DIGITS = 7  # enough for MAX_PAX
_MAX_SECONDS = (1 << 63) // 10**9 - 1  # what fits a signed 64-bit count of nanoseconds
_NO_NUL = (b"path", b"linkpath")


def parse(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header; of a repeated key the last one counts. Raises DataLoss."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + _LENGTH_DIGITS + 1)
        length = data[at : max(at, space)]
        end = at + int(length) if length.isdigit() else at
        if not at < space < end <= len(data) or data[end - 1] != ord("\n"):
            raise DataLoss(f"tar: PAX record at byte {at} has a wrong length")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals or b"\0" in key or (key in _NO_NUL and b"\0" in value):
            raise DataLoss(f"tar: PAX record {key[:80]!r} is malformed")
        records[key] = value
        at = end
    return records


def integer(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    """The record as a decimal of at most 19 digits, `default` when it is absent or empty. Raises DataLoss."""
    value = records.get(key)
    if not value:
        return default
    if not value.isdigit() or len(value) > 19:  # 19: longer ones cannot fit 63 bits, and int() of many is slow
        raise DataLoss(f"tar: PAX {key.decode()} is not a number: {value[:40]!r}")
    return int(value)


def nanoseconds(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    """The record, `seconds[.fraction]` and perhaps negative, in ns; digits beyond nine are cut. Raises DataLoss."""
    value = records.get(key)
    if not value:
        return default
    digits = value.removeprefix(b"-")
    seconds, _, fraction = digits.partition(b".")
    if not seconds.isdigit() or (fraction and not fraction.isdigit()) or len(value) > 80:
        raise DataLoss(f"tar: PAX {key.decode()} is not a time: {value[:40]!r}")
    total = min(int(seconds), _MAX_SECONDS) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -total if value[:1] == b"-" else total
