"""TLS settings of hosts, made once for each set of files: loading the system's certificates takes 20 ms and more."""

from __future__ import annotations

import os
import ssl
import threading

from core.errdefs import FailedPrecondition
from core.remotes.hosts import Host

_Key = tuple[tuple[tuple[str, int], ...], tuple[tuple[str, str], ...], bool]


class TlsContexts:
    """Thread-safe. One context for equal settings, so that connections can be kept and shared."""

    def __init__(self) -> None:
        self._mu = threading.Lock()
        self._contexts: dict[_Key, ssl.SSLContext] = {}  # guarded by _mu

    def get(self, host: Host) -> ssl.SSLContext:
        """Blocks. Raises FailedPrecondition naming a file that cannot be loaded."""
        files = (*host.ca, *(path for pair in host.client for path in pair if path))
        try:
            key = tuple((path, os.stat(path).st_mtime_ns) for path in files), host.client, host.skip_verify
        except OSError as exc:
            raise FailedPrecondition(f"host {host.base}: certificate {exc.filename}: {exc.strerror}") from exc
        with self._mu:
            if key not in self._contexts:
                self._contexts[key] = _make(host)
            return self._contexts[key]


def _make(host: Host) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for path in host.ca:
            context.load_verify_locations(path)
        for certificate, key in host.client:
            context.load_cert_chain(certificate, key or None)
    except OSError as exc:  # ssl.SSLError is one
        files = ", ".join((*host.ca, *(path for pair in host.client for path in pair if path)))
        raise FailedPrecondition(f"host {host.base}: no certificate or key in one of {files}: {exc}") from exc
    return context
