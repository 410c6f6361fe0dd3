"""What was done a short time ago: for how long it is known, and how much of it."""

from __future__ import annotations

from datetime import timedelta

from app.recent import Recent


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


def test_only_so_many_keys_are_admitted_in_a_lifetime() -> None:
    clock = Hand()
    recent = Recent(timedelta(minutes=1), limit=10, most=2, clock=clock)
    assert [recent.admits(key) for key in "aabc"] == [True, False, True, False]
    clock.seconds = 60
    assert [recent.admits(key) for key in "cab"] == [True, True, False]
