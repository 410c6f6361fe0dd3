"""Log lines: one per state change, with their facts as key=value or as JSON."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}

# Whatever a terminal or a reader of lines may take for more than a letter: controls, ends of lines, marks
# that turn the direction of writing, and halves of surrogate pairs.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_PLAIN = re.compile(r"[^\s=\"\\]+")


def configure(level: str, form: str) -> None:
    """Sends all logs of the process to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    quiet_libraries()


def quiet_libraries() -> None:
    """Keeps lines of libraries out that would carry whole URLs or parameters, and so perhaps secrets."""
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("httpx", "httpcore", "aiosqlite", "asyncio", "alembic", "sqlalchemy", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)


class TextLines(logging.Formatter):
    """One line for each record; a traceback follows in lines that begin with spaces, so that no text of
    others can pass for a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={_value(value)}" for key, value in _facts(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {_shown(record.getMessage())}{facts}"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"  {_shown(item)}" for item in traceback)])


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _shown(_dumps(line))


def _dumps(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half of a surrogate pair, or a number that JSON does not have
        return orjson.dumps({key: _shown(str(value)) for key, value in line.items()}).decode()


def _value(value: object) -> str:
    """A fact that is one word as it is, any other text between quotes."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return _shown(text)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_shown(quoted)}"'


def _shown(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
