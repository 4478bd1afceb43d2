"""Header blocks: zlib with a dictionary, one stream of it each way for the whole session (SPDY draft 3.1, 2.6.10)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from cri.streaming.spdy.frames import ProtocolError, TooBig

MAX_BLOCK = 16 << 10
"""Bytes of an inflated header block: our clients send three short headers; zlib makes 1,000 bytes of one."""
MAX_HEADERS = 64
"""Headers of one block."""

_WORD = struct.Struct(">I")
_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_PAIRS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _words(*words: str) -> bytes:
    return b"".join(_WORD.pack(len(word)) + word for word in (word.encode("latin-1") for word in words))


DICTIONARY = _words(*_NAMES.split(), *_PAIRS) + _TAIL.encode()


class HeaderReader:
    """Inflates the blocks of one sender. Each must be read, in order, even those of streams that are refused."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> dict[str, str]:
        """Names in lower case to values. Raises TooBig (nothing beyond the limits is stored), ProtocolError."""
        try:
            plain = self._zlib.decompress(block, MAX_BLOCK)
        except zlib.error as exc:
            raise ProtocolError(f"header block: {exc}") from exc
        if self._zlib.unconsumed_tail or len(plain) >= MAX_BLOCK:
            raise TooBig(f"header block of {MAX_BLOCK} bytes or more")
        if self._zlib.eof:  # what follows would only be stored
            raise ProtocolError("the header compression ended in the middle of the session")
        return parse(plain)


class HeaderWriter:
    """Deflates the blocks of one sender, in the order in which they are sent."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def write(self, headers: Mapping[str, str]) -> bytes:
        plain = _WORD.pack(len(headers)) + b"".join(_words(*pair) for pair in headers.items())
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


def parse(block: bytes) -> dict[str, str]:
    """The headers of an inflated block. Raises ProtocolError, TooBig."""
    texts = _Texts(block)
    count = texts.number()
    if count > MAX_HEADERS:
        raise TooBig(f"{count} headers, limit {MAX_HEADERS}")
    headers: dict[str, str] = {}
    for _ in range(count):
        name = texts.text()
        if not name or name != name.lower() or name in headers:
            raise ProtocolError(f"header name {name[:64]!r}: empty, upper case or twice")
        headers[name] = texts.text()
    return headers


class _Texts:
    """The numbers and length-prefixed texts of a block, one after the other."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def number(self) -> int:
        try:
            number: int = _WORD.unpack_from(self._block, self._at)[0]
        except struct.error as exc:
            raise ProtocolError("header block ends early") from exc
        self._at += _WORD.size
        return number

    def text(self) -> str:
        end = self.number() + self._at
        if end > len(self._block):
            raise ProtocolError("header block ends early")
        text = self._block[self._at : end].decode("latin-1")
        self._at = end
        return text
