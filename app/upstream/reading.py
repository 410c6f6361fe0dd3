"""Reading a vendor's JSON without trusting its form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one where something else came."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; whatever else is in it is left out."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A number or text as text; None for nothing and for an empty one."""
    return str(value) if value not in (None, "") else None


def date(value: object) -> datetime | None:
    """An ISO 8601 or HTTP date, or milliseconds since 1970, in UTC; None for anything else."""
    written = str(value)
    try:
        if written.isdecimal():
            return datetime.fromtimestamp(int(written) / 1000, UTC)
        found = datetime.fromisoformat(written) if written[:4].isdecimal() else parsedate_to_datetime(written)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def fingerprint(body: Mapping[str, Any]) -> str:
    """A name for what came without an id: the same body has the same one."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
