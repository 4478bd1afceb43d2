"""How gRPC lies in HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md): headers, trailers and messages.

    request   :path /service/method, content-type application/grpc…, grpc-timeout, metadata; messages
    response  :status 200, content-type; messages; trailers grpc-status, grpc-message
    message   1 byte: compressed | length, 32 bits | bytes
"""

from __future__ import annotations

import struct
from urllib.parse import quote

from cri.grpc.codes import Code, Refused

PREFIX = struct.Struct(">BI")
MAX_MESSAGE = 16 << 20
"""Bytes, both ways: what the kubelet's CRI client allows (hazards, "kubelet→CRI timeouts")."""
MAX_TEXT = 4096
"""Bytes of grpc-message as it is sent: clients of gRPC's C core refuse more than 8 KiB of metadata."""
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
MAX_DIGITS = 8  # of a timeout


def _field(name: bytes, value: bytes) -> bytes:
    """A literal that no table keeps (RFC 7541, section 6.2.2)."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    """RFC 7541, sections 5.1 and 5.2, without Huffman's code."""
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    head, size = bytearray((0x7F,)), size - 0x7F
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + text


RESPONSE = b"\x88" + _field(b"content-type", b"application/grpc")  # 0x88 is `:status: 200` in the static table
NOT_GRPC = _field(b":status", b"415")
"""The answer to any other request."""
_SUCCESS = _field(b"grpc-status", b"0")


def request(path: str) -> bytes:
    """The header block of a call."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc", "te": "trailers"}
    return b"".join(_field(name.encode(), value.encode()) for name, value in fields.items())


def trailers(code: Code, text: str) -> bytes:
    """The header block that ends a response."""
    if code is Code.OK:
        return _SUCCESS
    return _field(b"grpc-status", b"%d" % code) + _field(b"grpc-message", _escaped(text))


def _escaped(text: str) -> bytes:
    """Percent-encoded, and cut where it is too long; not in the middle of a character."""
    escaped = quote(text, safe=_PRINTABLE)
    while len(escaped) > MAX_TEXT:
        text = text[: min(len(text) - 1, MAX_TEXT)]
        escaped = quote(text, safe=_PRINTABLE)
    return escaped.encode()


def timeout(value: str) -> float | None:
    """Seconds that `grpc-timeout` grants; None for "" and nonsense."""
    unit = _UNITS.get(value[-1:])
    return int(value[:-1]) * unit if unit and len(value) <= MAX_DIGITS + 1 and value[:-1].isdecimal() else None


def message(data: bytes) -> bytes:
    return PREFIX.pack(0, len(data)) + data


class MessageReader:
    """Takes the body of a request apart."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that are whole now. Raises Refused (too large, compressed)."""
        self._data += data
        messages = []
        while len(self._data) >= PREFIX.size:
            compressed, size = PREFIX.unpack_from(self._data)
            if compressed:
                raise Refused(Code.UNIMPLEMENTED, "the message is compressed: send it with grpc-encoding identity")
            if size > MAX_MESSAGE:
                raise Refused(Code.RESOURCE_EXHAUSTED, f"a message of {size} bytes, {MAX_MESSAGE} are allowed")
            if len(self._data) < PREFIX.size + size:
                break
            messages.append(bytes(self._data[PREFIX.size : PREFIX.size + size]))
            del self._data[: PREFIX.size + size]
        return messages
