"""What `event.poller.configuration` says of one resource, and its older form `event.poller.urls`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from app.errors import BadRequest
from app.polling import dates, templates

PAGE_SIZE = 20  # rows per polled page where none is named; Cloud Elements' own number
LARGEST_PAGE = 1000  # rows
LONGEST_URL = 4000  # characters
TOLERANCE = 10  # seconds between creation and change of what counts as new; Cloud Elements' own number
LONGEST_DELAY = 30 * 24 * 3600  # seconds

_PREFIX = r"(?:/elements/api-v2)?(?:/?hubs/documents)?/?"
_STREAM = re.compile(_PREFIX + r"(?:events|changes)(?:/poll/[a-z-]+)?/?")
_LISTS = re.compile(
    _PREFIX + r"(?P<resource>search|custom-fields-templates"
    r"|folders/(?:[^/]+/)?(?:contents|metadata|collaborations)"
    r"|files/(?:[^/]+/)?(?:metadata|revisions|comments|custom-fields))/?"
)
_STREAM_NAMES = ("changes", "events", "documents", "files", "folders")
_DATE_FIELDS = tuple(
    f"{kind}Date{part}" for kind in ("updated", "created") for part in ("Field", "Format", "Timezone")
)
_FIELDS = (
    "url", "idField", "createdCheckTolerance", "pollDelay", "pageSize", "filterByUpdatedDate",
    "filterByCurrentDate", "datesConfiguration",
)  # fmt: skip


@dataclass(frozen=True)
class DateField:
    """Where a row has a date and how it is written; without a name, as the hub's own rows have it."""

    name: str
    pattern: str
    zone: tzinfo


@dataclass(frozen=True)
class Reading:
    """How one resource is polled."""

    url: str
    id_field: str
    updated: DateField
    created: DateField
    tolerance: timedelta
    delay: timedelta
    page_size: int
    by_updated: bool
    until_now: bool

    @property
    def newest_first(self) -> bool:
        """Whether the URL asks for an order in which nothing follows that matters, once a row is old."""
        query = unquote(urlsplit(self.url).query.replace("+", " "))
        return re.search(rf"(?:^|&)orderBy={re.escape(self._ruling.name)} desc(?:&|$)", query) is not None

    @property
    def _ruling(self) -> DateField:
        return self.updated if self.by_updated else self.created


def is_stream(url: object) -> bool:
    """Whether a URL means the vendor's stream of events."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return False
    return parts is not None and not parts.netloc and _STREAM.fullmatch(parts.path) is not None


def page_size(name: str, resource: Mapping[str, Any]) -> int:
    """Raises BadRequest."""
    return _whole(resource, "pageSize", name, PAGE_SIZE, least=1, most=LARGEST_PAGE)


def parse(name: str, resource: Mapping[str, Any]) -> Reading:
    """One resource of the configuration; `name` is what errors call it. Fields that nobody knows are
    tolerated. Raises BadRequest naming the field that cannot be followed."""
    found = resource.get("datesConfiguration")
    if not isinstance(found, dict | None):
        raise BadRequest(f"{name}.datesConfiguration: must be an object")
    written: Mapping[str, Any] = {key: value for key, value in (found or {}).items() if value is not None}
    updated = _date_field(name, written, "updated", DateField("", "", UTC))
    like_updated = updated if updated.name else replace(updated, name="createdDate")
    inner = {"createdCheckTolerance": written.get("createdCheckTolerance", TOLERANCE)}
    return Reading(
        url=_url(name, resource),
        id_field=_text(resource, "idField", name, "idField"),
        updated=updated,
        created=_date_field(name, written, "created", like_updated),
        tolerance=timedelta(seconds=_whole({**inner, **resource}, "createdCheckTolerance", name, TOLERANCE)),
        delay=timedelta(seconds=_whole(resource, "pollDelay", name, 0)),
        page_size=page_size(name, resource),
        by_updated=_flag(resource, "filterByUpdatedDate", name, default=True),
        until_now=_flag(resource, "filterByCurrentDate", name, default=False),
    )


def check(name: str, resource: Mapping[str, Any]) -> None:
    """Raises BadRequest naming the field of which `parse`, for the sake of what is stored, makes something
    that nobody means."""
    written = resource.get("datesConfiguration") or {}
    formats = [f"{kind}DateFormat" for kind in ("updated", "created")]
    field = "url"
    try:
        templates.check(resource["url"])
        for key in formats:
            field = f"datesConfiguration.{key}"
            dates.check((written.get(key) or "").strip())
    except ValueError as error:
        raise BadRequest(f"{name}.{field}: {error}") from None


def known(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource that `parse` takes, without the fields that nobody reads."""
    found = {key: resource[key] for key in _FIELDS if key in resource}
    if written := found.get("datesConfiguration"):
        names = (*_DATE_FIELDS, "createdCheckTolerance")
        found["datesConfiguration"] = {key: written[key] for key in names if key in written}
    return found


def target(url: str) -> str:
    """The path below the hub, and the query, of a filled URL. Raises ValueError for whatever is not a list
    of this hub that may be read."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    found = _LISTS.fullmatch(path)
    if parts.scheme or parts.netloc or found is None or not path.isprintable():
        raise ValueError("it is not a list of the documents hub, such as '/hubs/documents/search'")
    if re.search(r"(?:^|/)\.{1,2}(?:/|$)|\\", unquote(path)):
        raise ValueError("it must not hold '..'")
    return f"/{quote(found['resource'], safe='/')}?{parts.query}"


def legacy(text: str) -> dict[str, Any]:
    """The lines of an `event.poller.urls`, `resource|url|filter|updated field, format, zone|created ...`, as
    an `event.poller.configuration`. Fields at the end of a line may be missing. A line of plain names has
    several resources; those that are what changes at the vendor become one stream."""
    found: dict[str, Any] = {}
    for name, resource in _of_lines(text):
        found.setdefault(name, resource)
    return found


def named_twice(text: str) -> str | None:
    """A resource of these lines that two of them describe, of which `legacy` keeps the first."""
    found = legacy(text)
    return next((name for name, resource in _of_lines(text) if resource != found[name]), None)


def _of_lines(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in text.replace("\\n", "\n").splitlines():
        yield from _legacy(line)


def _legacy(line: str) -> Iterator[tuple[str, dict[str, Any]]]:
    names = [part.strip() for part in line.split("|")]
    if not names[0]:
        return
    if len(names) == 1 or all(re.fullmatch(r"[\w-]+", name) for name in names):
        streams = [name for name in names if name in _STREAM_NAMES][:1]
        for name in [*streams, *(name for name in names if name and name not in _STREAM_NAMES)]:
            yield name, {"url": _url_of(name), "idField": "", "datesConfiguration": {}}
        return
    resource, url, _, *rest = [*names, "", ""]
    given = {name: value for name, value in zip(_DATE_FIELDS, rest, strict=False) if value}
    yield resource, {"url": url or _url_of(resource), "idField": "", "datesConfiguration": given}


def _url_of(resource: str) -> str:
    """What a resource without a URL is read from: files and folders are what the vendor's events tell of."""
    return f"/hubs/documents/{'events' if resource in _STREAM_NAMES[2:] else resource}"


def _url(name: str, resource: Mapping[str, Any]) -> str:
    url = resource.get("url")
    if not isinstance(url, str) or not url.strip():
        raise BadRequest(f"{name}.url: is required")
    try:
        if len(url) > LONGEST_URL:
            raise ValueError(f"is longer than {LONGEST_URL} characters")
        target(templates.fill(url.strip(), datetime(2026, 1, 1, tzinfo=UTC)))
    except ValueError as error:
        raise BadRequest(f"{name}.url: {url[:200]!r} cannot be polled: {error}") from None
    return url.strip()


def _date_field(name: str, written: Mapping[str, Any], kind: str, default: DateField) -> DateField:
    where = f"{name}.datesConfiguration"
    field, pattern, place_name = (f"{kind}Date{part}" for part in ("Field", "Format", "Timezone"))
    given = _text(written, place_name, where, place_name)
    try:
        own_zone = dates.zone(given) if given else default.zone
    except ValueError as error:
        raise BadRequest(f"{where}.{place_name}: {error}") from None
    return DateField(
        _text(written, field, where, field) or default.name,
        _text(written, pattern, where, pattern) or default.pattern,
        own_zone,
    )


def _text(given: Mapping[str, Any], key: str, name: str, shown: str) -> str:
    value = given.get(key) or ""
    if not isinstance(value, str) or len(value) > 200:
        raise BadRequest(f"{name}.{shown}: must be a text of at most 200 characters")
    return value.strip()


def _whole(
    given: Mapping[str, Any], key: str, name: str, default: int, *, least: int = 0, most: int = LONGEST_DELAY
) -> int:
    """Clients write numbers as text, too."""
    value = given.get(key)
    value = default if value is None else value
    if not re.fullmatch(r"\d{1,7}", str(value), re.ASCII) or not least <= int(value) <= most:
        raise BadRequest(f"{name}.{key}: must be {least} to {most}")
    return int(value)


def _flag(given: Mapping[str, Any], key: str, name: str, *, default: bool) -> bool:
    value = given.get(key)
    words = {"true": True, "false": False, "": default, "none": default}
    if str(value).strip().lower() not in words:
        raise BadRequest(f"{name}.{key}: must be true or false")
    return words[str(value).strip().lower()]
