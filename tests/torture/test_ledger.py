"""The reconciliation notices whatever the gateway may not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.torture import ledger
from app.torture.ledger import Arrival, Expected, Happened, Tally, Told
from app.torture.receivers import told

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
PATH = "/egnyte-1"


def happened(key: str, object_id: str, *, seconds: float = 0) -> Happened:
    return Happened(key, object_id, False, BEGIN + timedelta(seconds=seconds))


CHANGES = [happened("k1", "a"), happened("k2", "a"), happened("k3", "b")]
EVENTS = [Told(1, "a", False, "k1"), Told(2, "a", False, "k2"), Told(3, "b", False, "k3")]


def arrival(number: int, *events: Told, notification: str = "", **more: Any) -> Arrival:
    """The number-th POST, a second after the one before."""
    values: dict[str, Any] = {"accepted": True, "signed": True, "digest": "bytes", **more}
    at = BEGIN + timedelta(seconds=number)
    return Arrival(number, at, PATH, notification or f"n{number}", 7, told=events, **values)


def reconcile(arrivals: Sequence[Arrival], *, ordered: bool = False) -> Tally:
    return ledger.reconcile([_expected(CHANGES, ordered=ordered)], arrivals)


def _expected(changes: Sequence[Happened], *, ordered: bool = False) -> Expected:
    return Expected(7, [PATH], frozenset({PATH} if ordered else ()), changes)


ALL = [arrival(number, event) for number, event in enumerate(EVENTS, start=1)]
CALLED = [replace(item, told=tuple(replace(event, key=None) for event in item.told)) for item in ALL]


@pytest.mark.parametrize("arrivals", [ALL, CALLED])
def test_what_arrived_as_it_happened_is_no_defect(arrivals: Sequence[Arrival]) -> None:
    tally = reconcile(arrivals, ordered=True)
    assert not tally.failed
    assert (tally.changes, tally.received, tally.lost) == (3, 3, 0)
    assert tally.longest_gap == timedelta(seconds=3)


@pytest.mark.parametrize("arrivals", [ALL, CALLED])
def test_a_change_that_never_arrived_is_lost(arrivals: Sequence[Arrival]) -> None:
    tally = reconcile(arrivals[:2])
    assert (tally.lost, tally.received) == (1, 2)
    assert "lost: change k3 of instance 7" in tally.defects[0]


@pytest.mark.parametrize("arrivals", [ALL, CALLED])
def test_a_change_that_was_only_refused_is_lost(arrivals: Sequence[Arrival]) -> None:
    tally = reconcile([*arrivals[:2], replace(arrivals[2], accepted=False)])
    assert (tally.lost, tally.refused) == (1, 1)


def test_a_notification_that_came_twice_is_counted_and_no_defect() -> None:
    tally = reconcile([*ALL, arrival(4, EVENTS[0], notification="n1")])
    assert tally.duplicated == 1
    assert not tally.failed


def test_a_change_under_two_ids_is_a_defect() -> None:
    tally = reconcile([*ALL, arrival(4, Told(4, "b", False, "k3"))])
    assert tally.under_two_ids == 1
    assert tally.failed


def test_a_change_that_was_told_twice_because_the_vendor_called_is_a_defect() -> None:
    tally = reconcile([*ALL, arrival(4, Told(4, "b", False))])
    assert tally.under_two_ids == 1


@pytest.mark.parametrize("call_first", [False, True])
def test_a_change_that_was_told_twice_does_not_make_up_for_one_that_was_lost(call_first: bool) -> None:
    call, poll = (Told(1, "a", False), Told(2, "a", False, "k1"))
    both = (call, poll) if call_first else (poll, replace(call, sequence=3))
    arrivals = [arrival(number, event) for number, event in enumerate(both, start=1)]
    expected = _expected([happened("k1", "a"), happened("k2", "a", seconds=30)])
    tally = ledger.reconcile([expected], arrivals)
    assert (tally.lost, tally.under_two_ids) == (1, 1)
    assert ledger.missing(expected, arrivals) == 1


def test_a_call_tells_of_the_change_that_no_poll_has_told() -> None:
    arrivals = [arrival(40, Told(1, "a", False)), arrival(41, Told(2, "a", False, "k1"))]
    expected = _expected([happened("k1", "a"), happened("k2", "a", seconds=30)])
    tally = ledger.reconcile([expected], arrivals)
    assert not tally.failed
    assert tally.longest_gap == timedelta(seconds=41)


def test_what_the_gateway_tells_of_itself_is_no_change() -> None:
    own = Told(4, "7", False, "gateway:grant_revoked:2")
    assert not reconcile([*ALL, arrival(4, own)]).failed


def test_an_overtaken_notification_about_the_same_object_is_a_defect_where_order_was_asked_for() -> None:
    first, second, third = ALL
    overtaken = [replace(second, number=1), replace(first, number=2), third]
    assert reconcile(overtaken, ordered=True).order_broken == 1
    assert not reconcile(overtaken).failed


def test_a_notification_that_did_not_wait_for_one_that_was_refused_is_a_defect() -> None:
    refused = replace(ALL[0], accepted=False)
    again = replace(ALL[0], number=4)
    assert reconcile([refused, *ALL[1:], again], ordered=True).order_broken == 1


def test_another_object_may_overtake() -> None:
    first, second, third = ALL
    shuffled = [replace(third, number=1), replace(first, number=2), replace(second, number=3)]
    assert not reconcile(shuffled, ordered=True).failed


def test_a_wrong_signature_is_a_defect() -> None:
    assert reconcile([*ALL[:2], replace(ALL[2], signed=False)]).wrong_signatures == 1


def test_other_bytes_under_the_same_id_are_a_defect() -> None:
    tally = reconcile([*ALL, replace(ALL[0], number=4, digest="others")])
    assert tally.bodies_changed == 1


def test_a_number_that_is_missing_is_a_defect() -> None:
    tally = reconcile([*ALL[:2], arrival(3, Told(4, "b", False, "k3"))])
    assert tally.numbers_missing == 1


def _message(objects: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    events = [
        {"sequence": number, "objectId": object_id, "eventType": "UPDATED"}
        for number, object_id in enumerate(objects, start=1)
    ]
    return {"events": events, "raw": {"events": rows}}


def test_an_event_gets_the_id_of_its_row_although_each_notification_repeats_the_whole_page() -> None:
    rows = [{"event_id": f"k{number}", "event_object_id": f"o{number % 3}"} for number in range(13)]
    objects = [row["event_object_id"] for row in rows]
    assert [event.key for event in told(_message(objects[:10], rows))] == [f"k{n}" for n in range(10)]
    assert [event.key for event in told(_message(objects[10:], rows))] == ["k10", "k11", "k12"]
    with pytest.raises(ValueError, match="not among the rows"):
        told(_message(["elsewhere"], rows))


def test_a_call_of_the_vendor_has_no_ids_of_its_stream() -> None:
    message = _message(["o1"], []) | {"raw": {"body": [{"eventId": "x"}]}}
    assert told(message) == [Told(1, "o1", False, None)]
