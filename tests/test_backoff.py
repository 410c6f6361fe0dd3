"""When to try again: tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import backoff
from app.backoff import GiveUp, Retry, RetryPlan, after_failed_attempt, after_failed_poll

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (RetryPlan.NINE, [4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144]),
        (RetryPlan.FIVE, [8, 64, 512, 4096, 32768]),
    ],
)
def test_the_documented_ladders(plan: RetryPlan, seconds: list[int]) -> None:
    for attempt, step in enumerate(seconds, start=1):
        assert after_failed_attempt(attempt, plan, chance=0) == Retry(timedelta(seconds=step))
        assert after_failed_attempt(attempt, plan, chance=1) == Retry(timedelta(seconds=step * 1.1))
    last = len(seconds) + 1
    assert after_failed_attempt(last, plan, chance=0) == GiveUp(f"{last} attempts failed")


@pytest.mark.parametrize(("asked", "waits"), [(None, 4), (1, 4), (100, 100)])
def test_the_receiver_can_lengthen_a_step(asked: float | None, waits: float) -> None:
    found = after_failed_attempt(1, RetryPlan.NINE, chance=0, retry_after=asked)
    assert found == Retry(timedelta(seconds=waits))


@pytest.mark.parametrize(
    ("failures", "interval", "chance", "asked", "seconds"),
    [
        (1, 900, 0, None, 60),
        (2, 900, 0, None, 120),
        (2, 900, 1, None, 60),
        (7, 900, 0, None, 3600),
        (10_000, 900, 0, None, 3600),
        (1, 10, 0, None, 10),
        (1, 900, 0, 500, 500),
        (7, 900, 0, 500, 3600),
    ],
)
def test_a_failing_vendor_is_asked_less_and_less(
    failures: int, interval: int, chance: float, asked: float | None, seconds: int
) -> None:
    found = after_failed_poll(
        failures,
        timedelta(seconds=interval),
        longest=timedelta(hours=1),
        chance=chance,
        retry_after=asked,
    )
    assert found == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3),
        (" 0.25 ", 0.25),
        ("-1", None),
        ("²", None),
        ("1e3", None),
        ("nan", None),
        ("soon", None),
        ("99999999999", backoff.LONGEST_RETRY_AFTER),
        ("Mon, 05 Jan 2026 10:00:30 GMT", 30),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("Mon, 05 Jan 2099 09:00:00 GMT", backoff.LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert backoff.retry_after(header, NOW) == seconds
