"""Times as Box reads and writes them."""

from datetime import UTC, datetime, timedelta, timezone

# Box writes its times with the offset of its home in California.
_PACIFIC = timezone(timedelta(hours=-8))


def timestamp(at: datetime | None) -> str | None:
    """A time as Box writes it."""
    return None if at is None else at.astimezone(_PACIFIC).isoformat(timespec="seconds")


def aware(at: datetime) -> datetime:
    """A time that somebody sent; without an offset it is UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
