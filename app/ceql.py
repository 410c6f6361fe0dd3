"""CEQL, the `where` of Cloud Elements: parsed into a predicate over rows."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, VisitError

from app.errors import BadRequest

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """`field sign value`, as it stands in the text."""

    field: str
    sign: str
    value: str


@dataclass(frozen=True)
class Condition:
    """A predicate over rows. `needs` are comparisons that hold for every row that it is true of: what a
    vendor may be asked to look for."""

    matches: Callable[[Row], bool]
    needs: tuple[Comparison, ...] = ()

    def __call__(self, row: Row) -> bool:
        return self.matches(row)


_GRAMMAR = r"""
    ?start: either
    ?either: both ("OR"i both)*
    ?both: term ("AND"i term)*
    ?term: "(" either ")"
         | field OPERATOR value            -> compare
         | field "LIKE"i STRING            -> like
         | field "IN"i "(" value ("," value)* ")"  -> within
         | field "IS"i "NULL"i             -> is_null
         | field "IS"i "NOT"i "NULL"i      -> is_not_null
    field: NAME | QUOTED_NAME
    value: STRING | NUMBER | BOOLEAN
    OPERATOR: "!=" | "<=" | ">=" | "=" | "<" | ">"
    BOOLEAN.2: /(true|false)\b/i
    NAME: /[A-Za-z_][A-Za-z0-9_.]*/
    QUOTED_NAME: /`[^`]+`/
    STRING: /'(''|[^'])*'/
    NUMBER: /[+-]?\d+(\.\d+)?/
    %ignore /\s+/
"""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_EQUALITIES = (operator.eq, operator.ne)
_LONGEST = 4000  # characters; a longer condition is refused before it is parsed
_WHOLE = re.compile(r"[+-]?\d{1,300}", re.ASCII)  # longer ones need quadratic time, and no float holds them
_DEEPEST = 50  # parentheses; each is a level of recursion
_MILLISECONDS = re.compile(r"\d{12,14}", re.ASCII)  # since 1970, as `${epoch}` writes them


Spellings = Mapping[str, Callable[[str], str]]


def a_time(value: str) -> str:
    """A spelling of fields that are times. Raises ValueError."""
    if _MILLISECONDS.fullmatch(value):
        return datetime.fromtimestamp(int(value) / 1000, UTC).isoformat()
    if time_of(value) is None:
        raise ValueError("is no time")
    return value


def a_number(value: str) -> str:
    """A spelling of fields that are numbers. Raises ValueError."""
    found = number(value)
    if found is None or not math.isfinite(found):
        raise ValueError("is no number")
    return value


def one_of(words: Collection[str]) -> Callable[[str], str]:
    """A spelling of fields that have one of these words. It raises ValueError."""

    def spelled(value: str) -> str:
        if value not in words:
            raise ValueError(f"is not known; known are {', '.join(words)}")
        return value

    return spelled


def compile_where(text: str, fields: Collection[str], spellings: Spellings | None = None) -> Condition:
    """A condition on rows that have `fields`. Raises BadRequest that says where the text goes wrong.

    Values compare as times where both sides are times, as numbers where both are numbers, and else as
    text. A field that a row lacks satisfies IS NULL and nothing else. `spellings` bring the values that a
    field is compared with into the form that its rows have, or refuse them: compared as text, a typo would
    be true of every row or of none.
    """
    if len(text) > _LONGEST or text.count("(") > _DEEPEST:
        raise BadRequest(f"where: is longer than {_LONGEST} characters or has over {_DEEPEST} parentheses")
    try:
        condition: Condition = _Compiler(fields, spellings or {}).transform(_parser.parse(text))
    except UnexpectedInput as error:
        raise BadRequest(f"where: not understood at position {error.pos_in_stream or 0}") from None
    except VisitError as error:
        raise error.orig_exc from None
    return condition


class _Compiler(Transformer[Token, Condition]):
    def __init__(self, fields: Collection[str], spellings: Spellings) -> None:
        super().__init__()
        self._fields = fields
        self._spellings = spellings

    def either(self, terms: list[Condition]) -> Condition:
        return terms[0] if len(terms) == 1 else Condition(lambda row: any(term(row) for term in terms))

    def both(self, terms: list[Condition]) -> Condition:
        needs = tuple(need for term in terms for need in term.needs)
        return Condition(lambda row: all(term(row) for term in terms), needs)

    def field(self, tokens: list[Token]) -> str:
        name = str(tokens[0]).strip("`")
        if name not in self._fields:
            raise BadRequest(f"where: unknown field '{name}'; known are {', '.join(sorted(self._fields))}")
        return name

    def value(self, tokens: list[Token]) -> str:
        return _unquoted(tokens[0])

    def compare(self, parts: list[Any]) -> Condition:
        name, sign, wanted = parts[0], parts[1], self._spelled(parts[0], parts[2])
        return Condition(
            lambda row: row.get(name) is not None and _compare(_OPERATORS[sign], row[name], wanted),
            (Comparison(name, sign, wanted),),
        )

    def like(self, parts: list[Any]) -> Condition:
        name, pattern = parts
        pieces = _unquoted(pattern).lower().split("%")
        return Condition(lambda row: row.get(name) is not None and _like(str(row[name]).lower(), pieces))

    def within(self, parts: list[Any]) -> Condition:
        name, wanted = parts[0], [self._spelled(parts[0], value) for value in parts[1:]]
        return Condition(
            lambda row: (
                row.get(name) is not None and any(_compare(operator.eq, row[name], value) for value in wanted)
            )
        )

    def _spelled(self, name: str, value: str) -> str:
        try:
            return self._spellings[name](value) if name in self._spellings else value
        except ValueError as error:
            raise BadRequest(f"where: {name}: {value[:60]!r} {error}") from None

    def is_null(self, parts: list[Any]) -> Condition:
        return Condition(lambda row: row.get(parts[0]) is None)

    def is_not_null(self, parts: list[Any]) -> Condition:
        return Condition(lambda row: row.get(parts[0]) is not None)


def _unquoted(token: Token) -> str:
    return token[1:-1].replace("''", "'") if token.type == "STRING" else str(token)


def _like(text: str, pieces: list[str]) -> bool:
    """Whether `text` is the pieces in their order with anything between them; takes linear time."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if not text.startswith(first):
        return False
    position = len(first)
    for piece in middle:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return len(text) - len(last) >= position and text.endswith(last)


def equals(actual: object, wanted: str) -> bool:
    """Whether a condition that says `=` is true of a value."""
    return _compare(operator.eq, actual, wanted)


def _compare(compare: Callable[[Any, Any], bool], actual: Any, wanted: str) -> bool:
    for read in (_time_as_fine_as(wanted) if compare in _EQUALITIES else time_of, number):
        left, right = read(str(actual)), read(wanted)
        if left is not None and right is not None:
            return compare(left, right)
    text = str(actual).lower() if isinstance(actual, bool) else str(actual)
    return compare(text, wanted)


def _time_as_fine_as(wanted: str) -> Callable[[str], datetime | None]:
    """Answers show whole seconds of times that are finer: a second equals all that lies within it."""

    def read(text: str) -> datetime | None:
        found = time_of(text)
        return found if found is None or "." in wanted else found.replace(microsecond=0)

    return read


def time_of(text: str) -> datetime | None:
    """The time that a value stands for, in UTC where it names no zone; None for another text."""
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def number(text: str) -> int | float | None:
    """The number that a value stands for; None for another text. Whole ones are exact: no float tells the
    ids apart."""
    try:
        if _WHOLE.fullmatch(text):
            return int(text)
        return float(text)
    except ValueError:
        return None


_parser = Lark(_GRAMMAR, parser="lalr")
