"""CEQL: what the documentation shows, and that no text does harm."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ceql import a_number, a_time, compile_where, one_of
from app.errors import BadRequest

FIELDS = {"name", "size", "date", "fine", "done", "a:b", "gone"}
ROW = {"name": "It's a.TXT", "size": 10, "date": "2026-01-05T10:00:00.000Z", "done": True, "a:b": 1}
ROW["fine"] = "2026-01-05T10:00:00.120Z"
SPELLINGS = {"date": a_time, "size": a_number, "done": one_of(["true", "false"])}


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ("size = 10", True),
        ("size != 10", False),
        ("size > 9 AND size < 11", True),
        ("size>=10.0 and size<=10", True),
        ("size = '10'", True),
        ("size > 9 or name = 'x' and name = 'y'", True),
        ("(size > 9 or name = 'x') and name = 'y'", False),
        ("name = 'It''s a.TXT'", True),
        ("name like '%.txt'", True),
        ("name LIKE 'it%a%t'", True),
        ("name like 'txt'", False),
        ("name like '%'", True),
        ("name in ('x', 'It''s a.TXT')", True),
        ("size IN (1,2)", False),
        ("gone is null", True),
        ("gone IS NOT NULL", False),
        ("gone = 'x'", False),
        ("gone != 'x'", False),
        ("name is null", False),
        ("`a:b` = 1", True),
        ("date >= '2026-01-05T11:00:00+01:00'", True),
        ("date > '2026-01-05T10:00:00Z'", False),
        ("date < '2026-01-06'", True),
        ("fine = '2026-01-05T10:00:00Z'", True),
        ("fine in ('2026-01-05T11:00:00+01:00')", True),
        ("fine != '2026-01-05T10:00:00Z'", False),
        ("fine = '2026-01-05T10:00:00.000Z'", False),
        ("fine > '2026-01-05T10:00:00Z'", True),
        ("done = true", True),
        ("done = 'false'", False),
    ],
)
def test_a_condition_means_what_it_says(where: str, matches: bool) -> None:
    assert compile_where(where, FIELDS)(ROW) is matches


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "position"),
        ("size", "position"),
        ("size = ", "position"),
        ("size == 1", "position 6"),
        ("size = 1 size = 2", "position"),
        ("(size = 1", "position"),
        ("name like 5", "position"),
        ("other = 1", "unknown field 'other'"),
        ("size = 1;", "position 8"),
        ("name = 'x", "position"),
        ("(" * 51 + "size = 1" + ")" * 51, "parentheses"),
        ("name = '" + "x" * 4000 + "'", "4000"),
    ],
)
def test_what_is_not_understood_is_said(where: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        compile_where(where, FIELDS)
    assert caught.value.message.startswith("where:")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("date > '01/12/2026'", "date: '01/12/2026' is no time"),
        ("size in (1, 'ten')", "size: 'ten' is no number"),
        ("size = 'inf'", "size: 'inf' is no number"),
        ("done != 'maybe'", "done: 'maybe' is not known; known are true, false"),
    ],
)
def test_a_value_that_a_field_cannot_have_is_named(where: str, words: str) -> None:
    with pytest.raises(BadRequest, match=f"^where: {words}$"):
        compile_where(where, FIELDS, SPELLINGS)


@pytest.mark.parametrize(
    "where", ["date > '1767607200000'", "date like '2026%'", "size > 9.5", "done = 'true'"]
)
def test_a_value_that_a_field_can_have_is_compared(where: str) -> None:
    assert compile_where(where, FIELDS, SPELLINGS)(ROW) is ("767607" not in where)


@given(st.text(alphabet="naмe size'`()=<>!%,.0-:T ANDORLIKEInull\n", max_size=60))
@settings(max_examples=300)
def test_any_text_is_a_predicate_or_refused(where: str) -> None:
    try:
        predicate = compile_where(where, FIELDS)
    except BadRequest:
        return
    assert predicate(ROW) in {True, False}


VALUES = {"size": st.integers(-3, 3), "name": st.sampled_from(["", "a", "B", "it's", "%"])}
ROWS = st.fixed_dictionaries({}, optional=VALUES)
SIGNS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Check = Callable[[dict[str, Any]], bool]


def quoted(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def comparison(name: str, sign: str, value: Any) -> tuple[str, Check]:
    return f"{name} {sign} {quoted(value)}", lambda row: name in row and SIGNS[sign](row[name], value)


def choice(name: str, values: list[Any]) -> tuple[str, Check]:
    return f"{name} in ({','.join(map(quoted, values))})", lambda row: name in row and row[name] in values


def absence(name: str, negated: bool) -> tuple[str, Check]:
    return f"{name} is {'not ' * negated}null", lambda row: (name in row) is negated


def joined(word: str, left: tuple[str, Check], right: tuple[str, Check]) -> tuple[str, Check]:
    (one, first), (other, second) = left, right
    if word == "and":
        return f"({one} AND {other})", lambda row: first(row) and second(row)
    return f"({one} or {other})", lambda row: first(row) or second(row)


NAMES = st.sampled_from(sorted(VALUES))
TERMS = (
    NAMES.flatmap(
        lambda name: st.builds(comparison, st.just(name), st.sampled_from(sorted(SIGNS)), VALUES[name])
    )
    | NAMES.flatmap(
        lambda name: st.builds(choice, st.just(name), st.lists(VALUES[name], min_size=1, max_size=3))
    )
    | st.builds(absence, NAMES, st.booleans())
)
CONDITIONS = st.recursive(
    TERMS, lambda inner: st.builds(joined, st.sampled_from(["and", "or"]), inner, inner), max_leaves=6
)


@given(CONDITIONS, st.lists(ROWS, max_size=4))
def test_a_condition_agrees_with_a_reference(
    condition: tuple[str, Check], rows: list[dict[str, Any]]
) -> None:
    where, expected = condition
    predicate = compile_where(where, set(VALUES))
    assert [predicate(row) for row in rows] == [expected(row) for row in rows]


@given(st.text(alphabet="ab", max_size=12), st.lists(st.text(alphabet="ab", max_size=3), max_size=5))
def test_like_agrees_with_a_slow_reference(text: str, pieces: list[str]) -> None:
    def reference(rest: str, left: list[str]) -> bool:
        if len(left) == 1:
            return rest.endswith(left[0])
        return any(
            rest.startswith(left[0], start) and reference(rest[start + len(left[0]) :], left[1:])
            for start in range(len(rest) + 1)
        )

    pattern = "%".join(["", *pieces, ""])
    found = compile_where(f"name like '{pattern}'", {"name"})({"name": text})
    assert found is reference(text, [*pieces, ""])


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ("size = 2839477190262785", True),
        ("size = '2839477190262784'", False),
        ("size IN (2839477190262786, 1)", False),
        ("size = 9223372036854775806", False),
        ("size < 2839477190262786.0", True),
        (f"size < {'9' * 300}", True),
    ],
)
def test_ids_are_compared_to_their_last_digit(where: str, matches: bool) -> None:
    assert compile_where(where, FIELDS)({"size": 2839477190262785}) is matches
    assert compile_where("size = 9223372036854775806", FIELDS)({"size": 9223372036854775807}) is False
