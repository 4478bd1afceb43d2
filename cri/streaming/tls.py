"""The certificate of the streaming server, renewed under it."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from core.errdefs import FailedPrecondition
from core.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; a renewal replaces them."""

    certificate: str
    key: str


class Certificates:
    """Gives each client the certificate that lies on disk when it connects, so a renewal needs no restart."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises FailedPrecondition when the files cannot be used."""
        self._files = files
        self._stamp = self._read_stamp()
        self._current = self._load()
        self.context = self._load()
        """What the server listens with; every handshake is moved to the newest one."""
        self.context.sni_callback = self._choose  # called for clients without SNI, too

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        stamp = self._read_stamp()
        if stamp != self._stamp:
            try:
                self._current, self._stamp = self._load(), stamp
            except FailedPrecondition as exc:  # half-written: the old one goes on until the next client
                log.warning("streaming certificate not renewed", error=exc)
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._files.certificate, self._files.key)
        except (OSError, ssl.SSLError) as exc:
            names = f"{self._files.certificate}, {self._files.key}"
            raise FailedPrecondition(f"streaming certificate and key ({names}): {exc}") from exc
        return context

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(path) for path in (self._files.certificate, self._files.key))


def _stamp(path: str) -> tuple[int, int, int]:
    """What changes when the file does; zeros while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
