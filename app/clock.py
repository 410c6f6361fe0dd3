"""The time, as an argument: tests replace it."""

from __future__ import annotations

from datetime import UTC, datetime


class Clock:
    """Answers the current time. Always UTC, always with a zone."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def in_calendars(moment: datetime) -> datetime:
    """A time that can be moved to any zone; one without a zone is UTC. Raises ValueError."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1970 <= known.year < 9000:
        raise ValueError("is no time from 1970 to 9000")
    return known
