"""The time, as an argument: tests replace it."""

from __future__ import annotations

from datetime import UTC, datetime


class Clock:
    """Answers the current time. Always UTC, always with a zone."""

    def now(self) -> datetime:
        return datetime.now(UTC)
