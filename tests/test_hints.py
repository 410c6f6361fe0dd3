"""Hints: each account sees its own ones, and all of them together are never more than the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hints import Hints

ACTS = st.lists(
    st.tuples(st.sampled_from(["set", "get", "delete"]), st.integers(1, 3), st.sampled_from("abc"))
)


@given(ACTS)
def test_below_the_limit_an_account_has_a_mapping_of_its_own(acts: list[tuple[str, int, str]]) -> None:
    hints, models = Hints(9), {account: dict[str, str]() for account in (1, 2, 3)}
    for number, (act, account, key) in enumerate(acts):
        own, model = hints.of(account), models[account]
        if act == "set":
            own[key] = model[key] = str(number)
        elif act == "get":
            assert own.get(key) == model.get(key)
        else:
            assert own.pop(key, None) == model.pop(key, None)
    for account, model in models.items():
        assert hints.of(account) == model
        assert len(hints.of(account)) == len(model)
        assert sorted(hints.of(account)) == sorted(model)


@given(ACTS, st.integers(0, 4))
def test_the_limit_holds_for_all_accounts_together(acts: list[tuple[str, int, str]], limit: int) -> None:
    hints, newest = Hints(limit), dict[tuple[int, str], str]()
    for number, (act, account, key) in enumerate(acts):
        value = newest.pop((account, key), None)
        if act == "set":
            hints.of(account)[key] = value = str(number)
        elif act == "get":
            assert hints.of(account).get(key) == value
        else:
            hints.of(account).pop(key, None)
            value = None
        if value is not None:
            newest[account, key] = value
        newest = dict(list(newest.items())[-limit:] if limit else [])
        kept = {(owner, name): hint for owner in (1, 2, 3) for name, hint in hints.of(owner).items()}
        assert kept == newest
        for owner, name in newest:  # looking at all of them has made their age another one
            hints.of(owner)[name]


def test_a_hint_that_is_used_outlives_one_that_is_not() -> None:
    own = Hints(2).of(1)
    own["used"], own["unused"] = "1", "2"
    assert own["used"] == "1"
    own["new"] = "3"
    assert dict(own) == {"used": "1", "new": "3"}


def test_setting_a_hint_again_costs_no_other_one() -> None:
    own = Hints(2).of(1)
    own["a"], own["b"], own["a"] = "1", "2", "3"
    assert dict(own) == {"a": "3", "b": "2"}


def test_a_missing_hint_is_missing_as_in_any_mapping() -> None:
    own = Hints(2).of(1)
    with pytest.raises(KeyError):
        own["a"]
    with pytest.raises(KeyError):
        del own["a"]
    assert "a" not in own
    assert own.get("a") is None


def test_hints_can_be_removed_while_they_are_gone_through() -> None:
    hints = Hints(9)
    hints.of(1).update(a="1", b="2")
    hints.of(2)["a"] = "3"
    for key in hints.of(1):
        del hints.of(1)[key]
    assert not hints.of(1)
    hints.of(1)["c"] = "4"
    hints.of(1).clear()
    assert dict(hints.of(2)) == {"a": "3"}
