"""The schedule of a torture: what a seed decides, and what it says of grants that were lost."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from app.torture import accounts, changes, grants
from app.torture.faults import Kind
from app.torture.run import Order

PLACES = accounts.places(accounts.make(8))


def test_the_same_seed_is_the_same_schedule() -> None:
    first, again, other = (Order("postgresql", 60, seed, 8).schedule() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert changes.plan(1, PLACES, 60) == changes.plan(1, PLACES, 60)
    assert changes.plan(1, PLACES, 60) != changes.plan(2, PLACES, 60)


@pytest.mark.parametrize("seed", range(5))
def test_a_short_run_holds_every_kind_of_fault(seed: int) -> None:
    kinds = Counter(fault.kind for fault in Order("postgresql", 20, seed, 8).schedule())
    assert kinds.keys() == set(Kind)
    of_one = {fault.kind for fault in Order("sqlite", 20, seed, 8).schedule()}
    assert of_one == set(Kind) - {Kind.RESTART, Kind.CUT}


def test_a_schedule_is_in_the_order_of_time_and_ends_with_the_run() -> None:
    times = [fault.at for fault in Order("postgresql", 60, 3, 8).schedule()]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 60


def test_a_long_run_stops_a_process_for_longer_than_a_refresh_is_held() -> None:
    longest = max(fault.seconds for fault in Order("postgresql", 180, 1, 8).schedule())
    assert longest > 33


ASKED = "refresh asked client=c"
STORED = "token refreshed instance=5 saved=True"
BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
ENDED = ("c", BEGIN + timedelta(minutes=1))


def _log(*said: str, begin: float = 0) -> str:
    """A line for each second from `begin` on."""
    times = (BEGIN + timedelta(seconds=begin + number) for number in range(len(said)))
    lines = (
        f"{at.isoformat(timespec='milliseconds')} info    {text}\n"
        for at, text in zip(times, said, strict=True)
    )
    return "".join(lines)


def test_a_kill_inside_a_refresh_explains_one_lost_grant_and_not_two() -> None:
    found = grants.read([(_log(ASKED, STORED), True), (_log(ASKED, begin=5), True)], {5: "c"})
    assert len(found.stored["c"]) == 1
    assert found.unexplained([ENDED]) == []
    assert found.unexplained([ENDED, ENDED]) == ["c"]


def test_a_kill_after_the_grant_had_ended_explains_nothing() -> None:
    assert grants.read([(_log(ASKED, begin=61), True)], {5: "c"}).unexplained([ENDED]) == ["c"]


@pytest.mark.parametrize("answered", [True, False])
def test_only_a_refresh_whose_answer_was_lost_explains_a_lost_grant(answered: bool) -> None:
    found = grants.read([(_log(ASKED, f"refresh failed client=c answered={answered}"), True)], {})
    assert found.unexplained([ENDED]) == ([] if not answered else ["c"])


def test_a_refresh_that_nobody_killed_explains_nothing() -> None:
    assert grants.read([(_log(ASKED), False)], {}).unexplained([ENDED]) == ["c"]


@pytest.mark.parametrize("saved", [True, False])
def test_a_later_refresh_that_was_stored_shows_that_the_grant_had_survived(saved: bool) -> None:
    later = _log(ASKED, f"token refreshed instance=5 saved={saved}", begin=10)
    found = grants.read([(_log(ASKED), True), (later, False)], {5: "c"})
    assert found.unexplained([ENDED]) == (["c"] if saved else [])


def test_a_refresh_that_was_asked_for_before_the_kill_says_nothing_of_it() -> None:
    """Its process was stopped meanwhile."""
    earlier = _log(ASKED, *[""] * 20, STORED)
    found = grants.read([(earlier, False), (_log(ASKED, begin=10), True)], {5: "c"})
    assert found.unexplained([ENDED]) == []
