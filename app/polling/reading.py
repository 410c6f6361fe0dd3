"""One poll of a resource of the surface: read its pages, and decide of each row whether it is news."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from app.clock import Clock
from app.errors import BadRequest, GatewayError, VendorNotFound
from app.hubs.documents import NEWEST, Change, ChangePage
from app.polling import dates, resources, templates
from app.polling.inside import Answer, Inside
from app.polling.resources import DateField, Reading
from app.store.tables import Instance, Poller
from app.upstream import reading as trust
from app.wire import dates as wire

_PAGES = 10  # of the resource that one step reads; the next step goes on behind them
_STEP = 15.0  # seconds after which a step begins no new page: all of it has GATEWAY_POLL_TIMEOUT
_LAG = timedelta(minutes=1)  # that a vendor's clock or its list may be behind without a loss
_RESTARTS = 2  # of one poll whose tokens end between its steps, before that is a failure
_DATES = ("event_date", "modifiedDate", "createdDate")  # of the hub's own rows, the first that is there
_TYPES = frozenset({"CREATED", "UPDATED", "DELETED", "UNKNOWN"})
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_DAY_ALONE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONGEST_TYPE = 100  # characters


def position(moment: datetime) -> str:
    """The cursor of a resource that has been polled until then."""
    return wire.milliseconds(moment)


@dataclass(frozen=True)
class Resource:
    """A resource of an instance, as what a poller reads."""

    inside: Inside
    instance: Instance
    poller: Poller
    clock: Clock

    async def page(self, cursor: str) -> ChangePage:
        """The news behind `cursor`, as `read` finds them."""
        now = self.clock.now()
        return await read(self.inside, self.instance, self.poller, cursor=cursor, now=now)


async def read(
    inside: Inside, instance: Instance, poller: Poller, *, cursor: str, now: datetime
) -> ChangePage:
    """The news of a resource behind `cursor`, which is the time of the last poll. A step ends after some
    pages; its cursor then says where the same poll goes on. Raises BadRequest for a configuration that cannot
    be followed any more, and what the resource answers."""
    how = resources.parse(poller.resource, poller.reading or {})
    poll = _Poll.at(cursor, poller.resource, how, now)
    changes: list[Change] = []
    clock = asyncio.get_running_loop().time
    until = clock() + _STEP
    for number in range(_PAGES):
        answer = await inside.call(instance, "GET", poll.target())
        if number == 0 and poll.token is not None and answer.status == 400:
            poll = _restarted(poll, poller, answer)
            answer = await inside.call(instance, "GET", poll.target())
        if answer.status >= 400:
            raise _refusal(answer.refusal())
        rows = _rows(answer)
        changes += [change for row in rows if (change := poll.change(row))]
        if answer.next_page is None or (how.newest_first and poll.is_over(rows)):
            return ChangePage(changes, cursor=position(poll.started), more=False)
        poll = replace(poll, token=answer.next_page)
        if clock() > until:
            break
    return ChangePage(changes, cursor=poll.cursor, more=True)


@dataclass(frozen=True)
class _Poll:
    """A poll that began at `started` and asks for what is newer than `since`; `token` is of the page that
    comes next. It has gone back to the first page for `restarts` times."""

    resource: str
    how: Reading
    since: datetime
    started: datetime
    token: str | None = None
    restarts: int = 0

    @classmethod
    def at(cls, cursor: str, resource: str, how: Reading, now: datetime) -> _Poll:
        """The poll that a cursor stands for: a new one, or one that has been begun."""
        if cursor.startswith("{"):
            begun = orjson.loads(cursor)
            since, started = (trust.date(begun[name]) or now for name in ("since", "started"))
            return cls(resource, how, since, started, begun["token"], begun.get("restarts", 0))
        return cls(resource, how, (None if cursor == NEWEST else trust.date(cursor)) or now, now)

    @property
    def cursor(self) -> str:
        begun = {"since": position(self.since), "started": position(self.started), "token": self.token}
        return orjson.dumps(begun | {"restarts": self.restarts}).decode()

    @property
    def horizon(self) -> datetime:
        """What is not later is known. The vendor's clock may be behind, and one that shows its changes late
        has a `pollDelay`; what is seen again because of it is known by its key."""
        return self.since - max(self.how.delay, _LAG)

    def target(self) -> str:
        """The path and query of the next page. Raises BadRequest."""
        try:
            found = resources.target(templates.fill(self.how.url, self.horizon))
        except ValueError as error:
            raise BadRequest(f"{self.resource}.url: cannot be polled: {error}") from None
        size = "" if "pageSize=" in found else f"&pageSize={self.how.page_size}"
        token = f"&nextPage={quote(self.token, safe='')}" if self.token else ""
        return f"{found}{size}{token}".replace("?&", "?")

    def is_over(self, rows: list[Mapping[str, Any]]) -> bool:
        """Whether the newest-first rows have met the last poll."""
        last = self._ruling(rows[-1]) if rows else None
        return last is not None and not last.is_after(self.horizon)

    def change(self, row: Mapping[str, Any]) -> Change | None:
        """What a row says, or None for one that is no news. One without a date that can be read is told of
        once, as UNKNOWN, each time that it looks different: to leave it out would lose it."""
        updated, ruling = _date(row, self.how.updated), self._ruling(row)
        if updated is None or ruling is None:
            return self._told(row, None, "UNKNOWN")
        if not ruling.is_after(self.horizon) or self._is_for_later(updated.moment):
            return None
        created = _date(row, self.how.created) or updated
        is_new = abs(updated.moment - created.moment) <= self.how.tolerance
        return self._told(row, updated.moment, "CREATED" if is_new else "UPDATED")

    @property
    def _ruling_field(self) -> DateField:
        return self.how.updated if self.how.by_updated else self.how.created

    def _ruling(self, row: Mapping[str, Any]) -> _Date | None:
        """The date that decides whether a row is news."""
        return _date(row, self._ruling_field) or _date(row, self.how.updated)

    def _is_for_later(self, updated: datetime) -> bool:
        """With filterByCurrentDate what came after the start is the next poll's. So is what has changed in
        the very second in which this one began, where no finer date tells a later change of it."""
        if self.how.until_now and updated > self.started:
            return True
        return not updated.microsecond and updated == self.started.replace(microsecond=0)

    def _told(self, row: Mapping[str, Any], updated: datetime | None, decided: str) -> Change:
        own = str(row.get("event_type", "")).upper()
        event_type = own if own in _TYPES else decided
        mark = trust.fingerprint(row)
        object_id = trust.text(_at(row, self.how.id_field)) or trust.text(row.get("id")) or mark
        seen = position(updated) if updated else mark
        if updated and not updated.microsecond:  # which does not tell two changes of its second apart
            seen += mark
        key = "\n".join((self.resource, object_id, seen, own, str(row.get("event_id") or "")))
        object_type = trust.text(row.get("event_object_type")) or self.resource
        return Change(
            event_id="polled:" + hashlib.sha256(key.encode()).hexdigest(),
            event_type=event_type,
            object_type=object_type[:_LONGEST_TYPE],
            object_id=object_id,
            date=updated or self.started,
            change=event_type.lower(),
            raw=row,
            path=trust.text(row.get("path")),
            parent_object_id=trust.text(row.get("parentFolderId") or row.get("parentObjectId")),
            name=trust.text(row.get("name")),
            body=row,
        )


def _restarted(poll: _Poll, poller: Poller, answer: Answer) -> _Poll:
    """The poll from its first page on, where its token has ended meanwhile: the rows before are known by
    their keys. Raises what the resource has answered where that does not help, so that its owner sees it; the
    attempt after a failure goes on all the same."""
    if poll.restarts >= _RESTARTS and not poller.failures:
        raise _refusal(answer.refusal())
    return replace(poll, token=None, restarts=poll.restarts + 1)


def _refusal(error: GatewayError) -> GatewayError:
    """A missing folder says so by its name: whoever reads it has not asked for anything just now."""
    if isinstance(error, VendorNotFound):
        return VendorNotFound("The polled resource does not exist", provider_message=error.provider_message)
    return error


def _rows(answer: Answer) -> list[Mapping[str, Any]]:
    """The rows of a page; a resource that is one object has one row."""
    found = answer.json()
    return [found] if isinstance(found, dict) else trust.rows(found)


@dataclass(frozen=True)
class _Date:
    """A date of a row; `of_a_day` where it tells no time."""

    moment: datetime
    of_a_day: bool

    def is_after(self, horizon: datetime) -> bool:
        """Whether it is later, as far as it tells: one in whole seconds may be any moment of its second, and
        one without a time any moment of its day."""
        if self.of_a_day:
            return self.moment > horizon - _DAY
        return self.moment > (horizon if self.moment.microsecond else horizon - _SECOND)


def _date(row: Mapping[str, Any], field: DateField) -> _Date | None:
    """The date of a row as its pattern reads it, or in ISO 8601, which this surface writes."""
    names = (field.name,) if field.name else _DATES
    value = next((found for name in names if (found := _at(row, name)) not in (None, "")), None)
    if value is None:
        return None
    own = dates.read(str(value), field.pattern, field.zone) if field.pattern else None
    if own is not None:
        return _Date(own, of_a_day=not dates.has_times(field.pattern))
    found = trust.date(value)
    return _Date(found, of_a_day=_DAY_ALONE.fullmatch(str(value)) is not None) if found else None


def _at(row: Mapping[str, Any], path: str) -> Any:
    """What is at a dotted path; a name that has dots itself goes first."""
    if not path or path in row:
        return row.get(path)
    found: Any = row
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
