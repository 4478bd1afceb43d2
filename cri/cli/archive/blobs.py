"""Blobs between an archive and the daemon's content store, a piece at a time."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator

import click
import grpc

from core.api import content_service_pb2 as api
from cri.cli.archive.documents import Descriptor
from cri.cli.archive.entries import BadArchive, Readable
from cri.cli.client import CallFailed
from cri.cli.containerd import Containerd, Exchange

CHUNK = 1 << 20  # bytes in one message
_TYPE = "application/octet-stream"  # until somebody knows better


class Store:
    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd

    def put(self, file: Readable, size: int, expected: str = "") -> tuple[Descriptor, bytes]:
        """Store the next `size` bytes of `file`; what they are, and the first few of them.

        Raises BadArchive when they end early, CallFailed when they are not `expected`.
        """
        ref = f"import-{secrets.token_hex(8)}"
        try:
            with self._containerd.exchange("Content.Write") as exchange:
                return self._write(exchange, ref, file, size, expected)
        except BaseException as error:
            if isinstance(error, CallFailed) and error.code is grpc.StatusCode.ALREADY_EXISTS:
                return Descriptor(media_type=_TYPE, digest=expected, size=size), b""
            with contextlib.suppress(CallFailed):  # its ingest may be gone already
                self._containerd.call("Content.Abort", api.AbortRequest(ref=ref))
            raise

    def put_bytes(self, data: bytes) -> Descriptor:
        return self.put(_Bytes(data), len(data))[0]

    def get(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The blob, checked as it comes."""
        hashed = hashlib.new(descriptor.digest.partition(":")[0])
        for part in self._containerd.stream("Content.Read", api.ReadContentRequest(digest=descriptor.digest)):
            hashed.update(part.data)
            yield part.data
        if hashed.hexdigest() != descriptor.digest.partition(":")[2]:
            raise click.ClickException(f"content {descriptor.digest} is damaged: `crispctl content repair` mends it")

    def _write(
        self, exchange: Exchange, ref: str, file: Readable, size: int, expected: str
    ) -> tuple[Descriptor, bytes]:
        hashed, head, offset = hashlib.sha256(), b"", 0
        exchange.ask(api.WriteContentRequest(action=api.STAT, ref=ref, total=size, expected=expected))
        while data := file.read(min(CHUNK, size - offset)):
            exchange.ask(api.WriteContentRequest(action=api.WRITE, offset=offset, data=data))
            hashed.update(data)
            head = head or data[:4]
            offset += len(data)
        if offset != size:
            raise BadArchive(f"it ends {size - offset} bytes early")
        found = Descriptor(media_type=_TYPE, digest=expected or f"sha256:{hashed.hexdigest()}", size=size)
        try:
            exchange.ask(api.WriteContentRequest(action=api.COMMIT, offset=offset, expected=found.digest))
        except CallFailed as error:
            if error.code is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        return found, head


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data
