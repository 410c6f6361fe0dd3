"""What people call themselves, their accounts and instances: short, and without HTML."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MOST_TAGS = 200  # of an instance
_HTML = re.compile(r"<!--.*?-->|</?[A-Za-z!?][^<>]*>|(?:</?[A-Za-z!?][^<>]*+)++$", re.DOTALL)
_NOT_ON_A_LINE = frozenset({"Cc", "Zl", "Zp"})


def without_html(text: str) -> str:
    """A text without tags of HTML; what stands between them stays. Names end up in other people's pages."""
    while (shorter := _HTML.sub("", text)) != text:
        text = shorter
    return text.strip()


def _on_one_line(text: str) -> str:
    if any(unicodedata.category(letter) in _NOT_ON_A_LINE for letter in text):
        raise PydanticCustomError("name", "must be on one line, without control characters")
    return text


def _there(text: str) -> str:
    if not text:
        raise PydanticCustomError("name", "is required")
    return text


Words = Annotated[str, Field(max_length=500), AfterValidator(without_html)]
MaybeName = Annotated[str, Field(max_length=255), AfterValidator(without_html), AfterValidator(_on_one_line)]
Name = Annotated[MaybeName, AfterValidator(_there)]
