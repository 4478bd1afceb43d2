"""What all shims have written into logs, also those that are gone."""

from __future__ import annotations

from collections.abc import Mapping

from core.shim.log_counts import LogCounts, read_counts


class LogTotals:
    """What a shim counts between the last look and its end is lost."""

    def __init__(self) -> None:
        self._total = LogCounts(0, 0, 0, 0)
        self._last: dict[str, LogCounts] = {}

    def look(self, directories: Mapping[str, str]) -> LogCounts:
        """Since the first look, whose counts are included; `directories` of the shims that run, by sandbox id."""
        now = {sandbox_id: read_counts(directory) for sandbox_id, directory in directories.items()}
        for sandbox_id, counts in now.items():
            before = self._last.get(sandbox_id, LogCounts(0, 0, 0, 0))
            added = (max(0, new - old) for new, old in zip(counts, before))
            self._total = LogCounts(*(sum(pair) for pair in zip(self._total, added)))
        self._last = now
        return self._total
