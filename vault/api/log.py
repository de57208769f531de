"""The log: one JSON object a line, of our own words and ids; nothing that a caller sent."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Final

import msgspec

from vault.clock import format_time

_FIELDS: Final = ("request", "route", "status", "code", "milliseconds", "error", "where", "region")


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, and the known extras."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": format_time(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            # An exception's text may hold what a caller sent: its type and place are enough.
            line["error"] = record.exc_info[0].__name__
            line["where"] = where(record.exc_info[2])
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        extras = " ".join(f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name))
        if record.exc_info and record.exc_info[0] is not None:
            extras += f" error={record.exc_info[0].__name__} where={where(record.exc_info[2])}"
        stamp = format_time(int(record.created * 1_000_000))
        return f"{stamp} {record.levelname.lower()} {record.getMessage()} {extras}".rstrip()


def where(trace: object) -> str:
    """The innermost frames of a traceback, as `file:line` (no source, no locals)."""
    frames = traceback.extract_tb(trace)[-4:]  # type: ignore[arg-type]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))


def configure(style: str, level: str) -> None:
    """Sends everything to standard error in one style."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"
    for name in ("alembic", "sqlalchemy", "asyncio", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
