"""Foreign layers: blobs for which a manifest names URLs elsewhere (OCI image-spec, layer.md, Non-Distributable Layers).

Whoever wrote the manifest chose them. So only hosts that the administrator allows are asked, after the registry itself,
and with nothing of anybody's: no credentials, no header of hosts.toml, no token for a challenge (CVE-2020-15157), and
no redirect to a host that is not allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from yarl import URL

from core.errdefs import PermissionDenied
from core.remotes.client import HostClient
from core.remotes.hosts import is_loopback

MAX_URLS = 4  # of one layer that are asked


class ForeignHosts:
    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """`patterns` (fnmatch) of host names, with the port where it is not the scheme's."""
        self._patterns = tuple(patterns)

    def allows(self, url: URL) -> bool:
        """Over HTTPS; HTTP is for this machine alone."""
        host = url.host or ""
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
            return False
        name = host if url.is_default_port() else f"{host}:{url.port}"
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def among(self, urls: Sequence[str]) -> tuple[URL, ...]:
        """Those that may be asked."""
        return tuple(filter(self.allows, filter(None, map(_url, urls))))[:MAX_URLS]


class ForeignClient(HostClient):
    """Asks for one blob, whatever path it is asked for."""

    max_proofs = 0

    def at(self, url: URL, allowed: ForeignHosts) -> ForeignClient:
        """Where the blob is."""
        self._blob = url
        self._allowed = allowed
        return self

    def _url(self, path: str) -> URL:
        return self._blob

    def _check_redirect(self, target: URL) -> None:
        if not self._allowed.allows(target):
            raise PermissionDenied(f"it redirects to {target.origin()}: not in images.foreign_layer_hosts")


def _url(text: str) -> URL | None:
    try:
        url = URL(text, encoded=True).with_user(None)
        return url if url.port else None
    except ValueError:
        return None
