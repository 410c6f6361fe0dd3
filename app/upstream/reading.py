"""Reading a vendor's JSON without trusting its form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from app.errors import BadRequest

LONGEST_ID = 100  # characters of an event's own id that are kept; it is in an index

_DEEPEST = 16  # levels that are put around what a vendor says before it is stored
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def parse(body: bytes) -> Any:
    """The JSON that a vendor has sent. What no database can store and must not end the reading of a stream,
    a NUL or half of a pair of surrogates, is replaced. Raises ValueError."""
    body = body.replace(b"\\u0000", b"\\ufffd")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.loads(_ESCAPES.sub(_whole, body.decode(errors="replace")))


def _whole(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape[1] else escape[0]


def announcement(body: bytes) -> Any:
    """The JSON of a vendor's own call. Raises BadRequest for what is none, or too deep to be stored."""
    try:
        nested = found = parse(body)
        for _ in range(_DEEPEST):
            nested = [nested]
        orjson.dumps(nested)
    except (ValueError, TypeError):
        raise BadRequest("body: is not JSON that can be kept") from None
    return found


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one where something else came."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; whatever else is in it is left out."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A number or text as text; None for nothing and for an empty one."""
    return str(value) if value not in (None, "") else None


def number(value: object) -> int | None:
    """A whole number of at most 18 digits, written as number or text; None for anything else."""
    written = str(value)
    return int(written) if written.isdecimal() and len(written) <= 18 and written.isascii() else None


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


def own_id(body: Mapping[str, Any], key: str) -> str:
    """The vendor's id of an event, or a fingerprint where there is none that can be kept."""
    found = text(body.get(key))
    return found if found and len(found) <= LONGEST_ID else fingerprint(body)


def fingerprint(body: Mapping[str, Any]) -> str:
    """A name for what came without an id: the same body has the same one."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
