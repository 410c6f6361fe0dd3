"""CEQL: what the documentation shows, and that no text does harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ceql import compile_where
from app.errors import BadRequest

FIELDS = {"name", "size", "date", "done", "a:b", "gone"}
ROW = {"name": "It's a.TXT", "size": 10, "date": "2026-01-05T10:00:00.000Z", "done": True, "a:b": 1}


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


@given(st.text(alphabet="naмe size'`()=<>!%,.0-:T ANDORLIKEInull\n", max_size=60))
@settings(max_examples=300)
def test_any_text_is_a_predicate_or_refused(where: str) -> None:
    try:
        predicate = compile_where(where, FIELDS)
    except BadRequest:
        return
    assert predicate(ROW) in {True, False}


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
