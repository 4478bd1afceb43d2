"""Structured logging: an event, then keys.

    log = get_logger(__name__)
    log.info("sandbox started", sandbox_id=sandbox_id, seconds=0.03)

Keys bound with `context()` (request id, pod) are added to every line that is logged below it, in the same task.
Secrets (credentials, environment, tokens) are never keys.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

_bound: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar("bound", default=MappingProxyType({}))


class Logger:
    """Logs events with keys through the standard logger of the same name."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **keys: object) -> None:
        self._log(logging.DEBUG, event, keys)

    def info(self, event: str, **keys: object) -> None:
        self._log(logging.INFO, event, keys)

    def warning(self, event: str, **keys: object) -> None:
        self._log(logging.WARNING, event, keys)

    def error(self, event: str, **keys: object) -> None:
        self._log(logging.ERROR, event, keys)

    def exception(self, event: str, **keys: object) -> None:
        """Log at error level with the traceback of the exception being handled."""
        self._logger.error(event, extra={"keys": {**_bound.get(), **keys}}, exc_info=True)  # noqa: LOG014 - called from handlers

    def _log(self, level: int, event: str, keys: Mapping[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"keys": {**_bound.get(), **keys}})


def get_logger(name: str) -> Logger:
    return Logger(name)


@contextlib.contextmanager
def context(**keys: object) -> Iterator[None]:
    """Add `keys` to every line logged inside the block, tasks started in it included."""
    token = _bound.set({**_bound.get(), **keys})
    try:
        yield
    finally:
        _bound.reset(token)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        keys = "".join(f" {key}={_quoted(value)}" for key, value in getattr(record, "keys", {}).items())
        line = f"{stamp} {record.levelname.lower():7} {record.name}: {record.getMessage()}{keys}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"time": stamp, "level": record.levelname.lower(), "logger": record.name, "msg": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({**line, **getattr(record, "keys", {})}, default=str)


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)


def configure(level: str = "info", style: str = "text", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr) as `text` or `json` lines from `level` on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
