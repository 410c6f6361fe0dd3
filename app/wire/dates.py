"""The two ways in which the surface writes times; both are UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds(moment: datetime) -> str:
    """`2017-06-06T21:29:33Z`"""
    return moment.astimezone(UTC).isoformat()[:19] + "Z"


def milliseconds(moment: datetime) -> str:
    """`2017-06-06T21:29:33.120Z`"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
