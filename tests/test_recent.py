"""What was done a short time ago: for how long it is known, and how much of it may be."""

from __future__ import annotations

from datetime import timedelta

from app.recent import Budget, Recent


class Hand:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_key_is_new_again_after_its_lifetime() -> None:
    clock = Hand()
    recent = Recent(timedelta(minutes=1), limit=10, clock=clock)
    assert recent.new("ab") == ["a", "b"]
    recent.note("a")
    clock.seconds = 59
    assert recent.new("ab") == ["b"]
    clock.seconds = 60
    assert recent.new("ab") == ["a", "b"]


def test_it_knows_no_more_than_its_limit() -> None:
    recent = Recent(timedelta(minutes=1), limit=2, clock=Hand())
    recent.note("abac")
    assert recent.new("abc") == ["b"]


def test_a_budget_is_whole_again_after_its_lifetime() -> None:
    clock = Hand()
    budget = Budget(timedelta(minutes=1), places=2, clock=clock)
    clock.seconds = 59
    budget.take(1)
    assert not budget.is_spent
    budget.take(1)
    assert budget.is_spent
    clock.seconds = 118
    assert budget.is_spent
    clock.seconds = 119
    assert not budget.is_spent
    budget.take(1)
    assert not budget.is_spent
    budget.take(2)
    assert budget.is_spent
