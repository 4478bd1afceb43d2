"""What goes wrong with a host, and what is said when it did with all of them."""

from __future__ import annotations

from yarl import URL

from core.errdefs import CrispError, NotFound, Unavailable


class Unreachable(Unavailable):
    """No connection to the host, or to any: there is no point in asking again now."""


class Retriable(Unavailable):
    """The host said so itself, or the connection broke."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after
        """Seconds that the host asked for."""


class Failures:
    """Every host that was asked for `what`, and why that failed."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failed: list[tuple[URL, CrispError]] = []

    def add(self, host: URL, error: CrispError) -> None:
        self._failed.append((host, error))

    def error(self) -> CrispError:
        """One error that names all; its class is the last host's, which is the registry itself."""
        if not self._failed:
            return NotFound(f"{self._what}: no host in hosts.toml has the capability")
        reasons = "; ".join(f"{host}: {error}" for host, error in self._failed)
        last = self._failed[-1][1]
        kind = Unavailable if isinstance(last, Retriable) else type(last)
        return kind(f"{self._what}: {reasons}")
