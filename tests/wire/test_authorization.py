"""The grammar of the Authorization header."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unauthorized
from app.wire.authorization import Authorization, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("User u, Organization o", ("u", "o", None)),
        ("Organization o, User u", ("u", "o", None)),
        ("User u, Organization o, Element e", ("u", "o", "e")),
        ("User u, Element e", ("u", None, "e")),
        ("Element e, User u", ("u", None, "e")),
        ("Element e, User u, Organization o", ("u", "o", "e")),
        ("User u, Organization o, Element: e", ("u", "o", "e")),
        ("user u,organization o , ELEMENT  e ", ("u", "o", "e")),
        ("User a/b+c=, Element d+/e==", ("a/b+c=", None, "d+/e==")),
        ("Element:e,User:u", ("u", None, "e")),
        ("Element e", (None, None, "e")),
    ],
)
def test_every_variant_is_understood(header: str, expected: tuple[str | None, ...]) -> None:
    found = parse(header)
    assert (found.user, found.organization, found.element) == expected


def test_the_token_of_a_login_stands_for_a_user() -> None:
    assert parse("Bearer t").bearer == "t"
    assert parse("bearer t, Element e") == Authorization(element="e", bearer="t")


@pytest.mark.parametrize("names", list(permutations(("User", "Organization", "Element"))))
def test_order_case_colon_and_spaces_do_not_matter(names: tuple[str, ...]) -> None:
    cases: tuple[Callable[[str], str], ...] = (str.lower, str.upper, str.title)
    for case, between, comma in product(cases, (" ", ": ", ":", " : ", "\t"), (",", ", ", " ,  ")):
        header = comma.join(f"{case(name)}{between}{name[0]}/+=" for name in names)
        found = parse(header)
        assert (found.user, found.organization, found.element) == ("U/+=", "O/+=", "E/+="), header


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "  ",
        "User",
        "User u Organization o",
        "User u,",
        "User u, User v",
        "basic empty",
        "User u, Bearer b",
        "Users u",
        "User u v",
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        parse(header)


def test_the_secrets_do_not_show() -> None:
    assert "secret-value" not in repr(parse("User secret-value, Element e"))


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused(header: str) -> None:
    with contextlib.suppress(Unauthorized):
        assert isinstance(parse(header), Authorization)
