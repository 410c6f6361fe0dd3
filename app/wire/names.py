"""What people call themselves and their accounts: short, on one line, without HTML."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.wire.instances import without_html

_NOT_ON_A_LINE = frozenset({"Cc", "Zl", "Zp"})


def _on_one_line(text: str) -> str:
    if any(unicodedata.category(letter) in _NOT_ON_A_LINE for letter in text):
        raise PydanticCustomError("name", "must be on one line, without control characters")
    return text


def _there(text: str) -> str:
    if not text:
        raise PydanticCustomError("name", "is required")
    return text


MaybeName = Annotated[str, Field(max_length=255), AfterValidator(without_html), AfterValidator(_on_one_line)]
Name = Annotated[MaybeName, AfterValidator(_there)]
