"""When to try again. Pure: time and chance come in as arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum


class RetryPlan(StrEnum):
    """The two ladders that Cloud Elements documented: tries after the first one, base of the delay."""

    NINE = "9x4"
    FIVE = "5x8"

    @property
    def tries(self) -> int:
        return int(self.value.split("x")[0])

    @property
    def base(self) -> int:
        return int(self.value.split("x")[1])


LONGEST_RETRY_AFTER = 7 * 24 * 3600  # seconds; what asks for more is taken to mean this


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, as a number of them or as a date (RFC 9110).

    None where there is no header or nothing that can be understood.
    """
    text = (header or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


@dataclass(frozen=True)
class Retry:
    """Try again after this long."""

    delay: timedelta


@dataclass(frozen=True)
class GiveUp:
    """No further try; `reason` is shown to the owner of the subscription."""

    reason: str


def after_failed_attempt(
    attempt: int, plan: RetryPlan, *, chance: float, retry_after: float | None = None
) -> Retry | GiveUp:
    """The verdict on a delivery whose `attempt`-th POST (1 = the first) has failed.

    The x-th retry waits base^x seconds and 0..10 % more (`chance` in 0..1 picks how much). What the
    receiver asked for in Retry-After can lengthen a step and never shortens it.
    """
    if attempt > plan.tries:
        return GiveUp(f"{attempt} attempts failed")
    seconds = plan.base**attempt * (1 + 0.1 * chance)
    return Retry(timedelta(seconds=max(seconds, retry_after or 0.0)))


def after_failed_poll(
    failures: int,
    interval: timedelta,
    *,
    longest: timedelta,
    chance: float,
    retry_after: float | None = None,
) -> timedelta:
    """How long a poller rests after its `failures`-th failure in a row (1 = the first).

    It starts at the interval (at most a minute, so that a hiccup costs little), doubles up to
    `longest`, takes 0..50 % off by `chance` so that many accounts of one failing vendor spread out,
    and waits at least what the vendor asked for.
    """
    first = min(interval, timedelta(minutes=1))
    doubled = min(first * 2 ** min(failures - 1, 30), max(longest, first))
    seconds = doubled.total_seconds() * (1 - 0.5 * chance)
    return timedelta(seconds=max(seconds, retry_after or 0.0))
