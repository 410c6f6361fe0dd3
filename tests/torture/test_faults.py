"""The schedule of a torture: what a seed decides, and what it says of grants that were lost."""

from __future__ import annotations

from collections import Counter

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


def test_a_kill_inside_a_refresh_explains_one_lost_grant_and_not_two() -> None:
    log = "info refresh asked client=torture-box-1\ninfo token refreshed instance=5 saved=True\n"
    begun = "info refresh asked client=torture-box-1\n"
    found = grants.read([(log, True), (begun, True), (log, False)], {5: "torture-box-1"})
    assert found.stored["torture-box-1"] == 2
    assert found.unexplained(["torture-box-1"]) == []
    assert found.unexplained(["torture-box-1", "torture-box-1"]) == ["torture-box-1"]


@pytest.mark.parametrize("answered", [True, False])
def test_only_a_refresh_whose_answer_was_lost_explains_a_lost_grant(answered: bool) -> None:
    log = f"info refresh asked client=c\ninfo refresh failed client=c answered={answered}\n"
    found = grants.read([(log, True)], {})
    assert found.unexplained(["c"]) == ([] if not answered else ["c"])


def test_a_refresh_that_nobody_killed_explains_nothing() -> None:
    assert grants.read([("info refresh asked client=c\n", False)], {}).unexplained(["c"]) == ["c"]
