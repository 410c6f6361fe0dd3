"""The URL of a database as the store uses it, from what an operator writes."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import SettingsError


def understood(text: str) -> URL:
    """The URL with the async driver of its kind of database. Raises SettingsError, which shows none of it."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise SettingsError("GATEWAY_DATABASE_URL: not the URL of a database") from None
    match url.get_backend_name():
        case "sqlite" if url.database in {None, "", ":memory:"}:
            raise SettingsError("GATEWAY_DATABASE_URL: SQLite needs a file, which all connections share")
        case "sqlite":
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return _spelled_for_asyncpg(url)
        case kind:
            raise SettingsError(f"GATEWAY_DATABASE_URL: {kind} is neither sqlite nor postgresql")


def _spelled_for_asyncpg(url: URL) -> URL:
    """libpq and everybody else call it `sslmode`, asyncpg calls it `ssl`; the values are the same."""
    query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=query)
