"""Whether a JSON value can be stored: bounded in depth, with finite numbers and texts of sane characters."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator

from app.errors import BadRequest

_DEEPEST = 64  # levels; the deepest body that a client of Cloud Elements sends has 6

# PostgreSQL stores no NUL, UTF-8 knows no half of a surrogate pair, and no name needs another control
# character than tabs and ends of lines.
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def check(value: Any) -> None:
    """Walks the whole value. Raises BadRequest."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise BadRequest(f"it is deeper than {_DEEPEST} levels")
        below: list[Any] = []
        for item in level:
            match item:
                case str():
                    _check_text(item)
                case float() if not math.isfinite(item):
                    raise BadRequest("a number in it is too large")
                case dict():
                    below += [*item.keys(), *item.values()]
                case list():
                    below += item
        level = below


def _storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a character that cannot be stored, so nothing has it")
    return text


Storable = Annotated[str, AfterValidator(_storable)]
"""A text that something stored can be compared with."""


def _check_text(text: str) -> None:
    if found := _UNSTORABLE.search(text):
        raise BadRequest(f"a text holds a character that cannot be stored, U+{ord(found[0]):04X}")
