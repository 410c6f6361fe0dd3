"""Dates as Java's SimpleDateFormat writes and reads them, by one table of pattern letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MILLISECONDS = "milliseconds"
"""In place of a pattern: the number of milliseconds since 1970."""

LONGEST_TEXT = 100
"""Characters of what is read as a date."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# The short names that Java knows as places, so that they have summer time, and those it takes for offsets.
_PLACES = {
    "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "CST": "America/Chicago",
    "CDT": "America/Chicago", "EDT": "America/New_York", "MDT": "America/Denver", "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo", "CET": "Europe/Paris", "CEST": "Europe/Paris", "ECT": "Europe/Paris",
    "EET": "Europe/Athens", "WET": "Europe/Lisbon", "BST": "Europe/London", "AEST": "Australia/Sydney",
}  # fmt: skip
_OFFSETS = {"EST": -5, "MST": -7, "HST": -10}  # hours
_DAYLIGHT = {"PST": -8, "PDT": -7, "CST": -6, "CDT": -5, "EDT": -4, "MDT": -6, "CET": 1, "CEST": 2}
_PART = re.compile(r"''|'((?:[^']|'')+)'|'|(([A-Za-z])\3*)|([^A-Za-z']+)")
_ZONE = re.compile(r"(?:(?:GMT|UTC|UT)?([+-])(\d{1,2})(?::?(\d{2}))?)", re.IGNORECASE)


def zone(name: str) -> tzinfo:
    """The zone of a name: GMT, UTC, Z, PST, Europe/Paris, -8:00, +0530, GMT+2. Raises ValueError."""
    written = name.strip()
    if written.upper() in {"", "Z", "GMT", "UTC", "UT"}:
        return UTC
    if found := _ZONE.fullmatch(written):
        return _offset(*found.groups())
    if written.upper() in _OFFSETS:
        return timezone(timedelta(hours=_OFFSETS[written.upper()]), written.upper())
    try:
        return ZoneInfo(_PLACES.get(written.upper(), written))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:60]!r} is not a time zone") from None


def _offset(sign: str, hours: str, minutes: str | None) -> timezone:
    """Raises ValueError for more than a day."""
    distance = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return timezone(-distance if sign == "-" else distance) if distance else UTC


def write(moment: datetime, pattern: str, where: tzinfo = UTC) -> str:
    """A moment in a zone, as the pattern says."""
    if pattern == MILLISECONDS:
        return str(milliseconds(moment))
    local = moment.astimezone(where)
    return "".join(part.text or _FIELDS[part.letter].write(local, part.count) for part in _parts(pattern))


def milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def read(text: str, pattern: str, where: tzinfo = UTC) -> datetime | None:
    """The moment in UTC that a text means, in a zone unless it names one; None for one of another form."""
    if len(text) > LONGEST_TEXT:
        return None
    try:
        if pattern == MILLISECONDS:
            return (
                _EPOCH + timedelta(milliseconds=int(text)) if re.fullmatch(r"-?\d+", text.strip()) else None
            )
        found = _regex(pattern).fullmatch(text.strip())
        return _moment(pattern, found, where) if found else None
    except (ValueError, OverflowError):
        return None


def check(pattern: str) -> None:
    """Raises ValueError for a letter that no pattern knows. With an apostrophe that lacks its partner, as
    pages of the time show it, nobody can say which letters stand for themselves."""
    if pattern == MILLISECONDS or pattern.count("'") % 2:
        return
    unknown = [found[3] for found in _PART.finditer(pattern) if found[3] and found[3] not in _FIELDS]
    if unknown:
        raise ValueError(f"{pattern[:100]!r} is no date pattern: no letter {unknown[0]!r} is known")


def has_times(pattern: str) -> bool:
    """Whether a pattern tells more than the day."""
    return pattern == MILLISECONDS or any(part.letter in "HhKk" for part in _parts(pattern) if part.letter)


@dataclass(frozen=True)
class _Part:
    """A run of one letter, or literal text."""

    letter: str = ""
    count: int = 0
    text: str = ""


@dataclass(frozen=True)
class _Field:
    """How one letter is written, what it looks like, and what reading it says of the moment. What is only
    looked at and says nothing has no `read`."""

    write: Callable[[datetime, int], str]
    regex: Callable[[int], str]
    read: Callable[[str, int], Mapping[str, object]] | None = None
    is_number: Callable[[int], bool] = lambda count: False


@lru_cache(1000)
def _parts(pattern: str) -> tuple[_Part, ...]:
    """Two apostrophes are one, and between two of them text stands for itself. Elements are configured with
    patterns that Java refuses: an apostrophe without its partner is left out here, and a letter that has no
    meaning stands for itself."""
    return tuple(_cut(pattern))


def _cut(pattern: str) -> Iterator[_Part]:
    for found in _PART.finditer(pattern):
        quoted, run, letter, other = found.groups()
        if run and letter in _FIELDS:
            yield _Part(letter=letter, count=len(run))
        elif found[0] == "''":
            yield _Part(text="'")
        elif quoted or run or other:
            yield _Part(text=quoted.replace("''", "'") if quoted else run or other)


@lru_cache(1000)
def _regex(pattern: str) -> re.Pattern[str]:
    """A number that another one follows without a space between has exactly as many digits as letters. Any
    other field takes all that it can, as in Java, and gives nothing back: to try all ways of sharing a text
    among fields takes longer than anybody waits."""
    parts = [*_parts(pattern), _Part()]
    pieces = []
    for part, following in pairwise(parts):
        if part.text:
            pieces.append(re.escape(part.text))
        elif _is_number(part) and _is_number(following):
            pieces.append(rf"(\d{{{part.count}}})")
        else:
            pieces.append(f"((?>{_FIELDS[part.letter].regex(part.count)}))")
    return re.compile("".join(pieces), re.IGNORECASE | re.ASCII)


def _is_number(part: _Part) -> bool:
    return part.letter != "" and _FIELDS[part.letter].is_number(part.count)


def _moment(pattern: str, found: re.Match[str], where: tzinfo) -> datetime:
    """Raises ValueError for a day that no calendar has."""
    told: dict[str, object] = {}
    for part, text in zip((part for part in _parts(pattern) if part.letter), found.groups(), strict=True):
        told |= (_FIELDS[part.letter].read or _nothing)(text, part.count)
    year, month, day = _int(told, "year", 1970), _int(told, "month", 1), _int(told, "day", 1)
    hour = _int(told, "hour12") + 12 * (told.get("half") == "pm")
    local = datetime(year, month, day) + timedelta(  # noqa: DTZ001
        days=_int(told, "day_of_year", 1) - 1 if "month" not in told else 0,
        hours=_int(told, "hour", hour),
        minutes=_int(told, "minute"),
        seconds=_int(told, "second"),
        microseconds=_int(told, "microsecond"),
    )
    own = told.get("zone")
    return local.replace(tzinfo=own if isinstance(own, tzinfo) else where).astimezone(UTC)


def _int(told: Mapping[str, object], name: str, default: int = 0) -> int:
    value = told.get(name, default)
    return value if isinstance(value, int) else default


def _nothing(text: str, count: int) -> Mapping[str, object]:
    return {}


def _number(name: str, value: Callable[[datetime], int], *, modulo: int | None = None) -> _Field:
    """A field of digits. `modulo` is the number that stands for zero: 24 in k, 12 in h."""

    def read(text: str, count: int) -> Mapping[str, object]:
        return {name: int(text) % modulo if modulo else int(text)}

    def written(moment: datetime, count: int) -> str:
        number = value(moment)
        return str(number % modulo or modulo if modulo else number).rjust(count, "0")

    return _Field(written, lambda count: r"\d{1,9}", read, lambda count: True)


def _names(name: str | None, names: tuple[str, ...], value: Callable[[datetime], int]) -> _Field:
    """A field of words, of which three letters are enough, or below three letters a number."""
    numbers = _number(name or "", lambda moment: value(moment) + 1)
    words = "|".join(f"{item}|{item[:3]}" for item in names)

    def written(moment: datetime, count: int) -> str:
        word = names[value(moment)]
        if name and count < 3:
            return numbers.write(moment, count)
        return word if count >= 4 else word[:3]

    def read(text: str, count: int) -> Mapping[str, object]:
        if not name:
            return {}
        if text.isdecimal():
            return {name: int(text)}
        return {name: [item[:3].lower() for item in names].index(text[:3].lower()) + 1}

    def regex(count: int) -> str:
        return r"\d{1,2}" if name and count < 3 else words

    return _Field(written, regex, read, lambda count: bool(name) and count < 3)


def _write_year(moment: datetime, count: int) -> str:
    return f"{moment.year % 100:02}" if count == 2 else str(moment.year).rjust(max(count, 1), "0")


def _read_year(text: str, count: int) -> Mapping[str, object]:
    """Two digits are a year within 80 years before and 20 after now, as in Java."""
    if count > 2 or len(text) != 2:
        return {"year": int(text)}
    latest = datetime.now(UTC).year + 20
    return {"year": latest - (latest - int(text)) % 100}


def _write_fraction(moment: datetime, count: int) -> str:
    return f"{moment.microsecond:06}".ljust(count, "0")[:count]


def _read_fraction(text: str, count: int) -> Mapping[str, object]:
    return {"microsecond": int(text.ljust(6, "0")[:6])}


def _write_offset(moment: datetime, separator: str = "") -> str:
    minutes = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{separator}{rest:02}"


def _write_iso_zone(moment: datetime, count: int) -> str:
    if not moment.utcoffset():
        return "Z"
    return _write_offset(moment)[:3] if count == 1 else _write_offset(moment, ":" if count == 3 else "")


def _write_zone(moment: datetime, count: int) -> str:
    """`PST`, or `GMT-08:00` where the zone has no name."""
    name = moment.tzname() or ""
    if not moment.utcoffset() and name == "UTC":
        return "GMT" if count < 4 else "UTC"
    return name if name in _DAYLIGHT or name in _OFFSETS else f"GMT{_write_offset(moment, ':')}"


def _read_zone(text: str, count: int) -> Mapping[str, object]:
    if text.upper() in _DAYLIGHT:
        return {"zone": timezone(timedelta(hours=_DAYLIGHT[text.upper()]))}
    return {"zone": zone(text)}


_ANY_ZONE = r"(?:GMT|UTC|UT)?[+-](?:\d{1,2}:?\d{2}|\d{1,2})|[A-Za-z]+/[A-Za-z_/]+|[A-Za-z]{1,5}"
_zones = (lambda count: _ANY_ZONE, _read_zone)

_FIELDS: Mapping[str, _Field] = {
    "G": _Field(lambda moment, count: "AD", lambda count: "AD"),
    "y": _Field(_write_year, lambda count: r"\d{1,4}", _read_year, lambda count: True),
    # Java's week year is a year that is written by mistake in all but a few patterns.
    "Y": _Field(_write_year, lambda count: r"\d{1,4}", _read_year, lambda count: True),
    "M": _names("month", _MONTHS, lambda moment: moment.month - 1),
    "L": _names("month", _MONTHS, lambda moment: moment.month - 1),
    "w": _number("week", lambda moment: moment.isocalendar().week),
    "W": _number("week_of_month", lambda moment: (moment.day + moment.replace(day=1).weekday() - 1) // 7 + 1),
    "D": _number("day_of_year", lambda moment: moment.timetuple().tm_yday),
    "d": _number("day", lambda moment: moment.day),
    "F": _number("weekday_of_month", lambda moment: (moment.day - 1) // 7 + 1),
    "E": _names(None, _DAYS, datetime.weekday),
    "u": _number("weekday", datetime.isoweekday),
    "a": _Field(
        lambda moment, count: "AM" if moment.hour < 12 else "PM",
        lambda count: "AM|PM",
        lambda text, count: {"half": text.lower()},
    ),
    "H": _number("hour", lambda moment: moment.hour),
    "k": _number("hour", lambda moment: moment.hour, modulo=24),
    "K": _number("hour12", lambda moment: moment.hour % 12),
    "h": _number("hour12", lambda moment: moment.hour, modulo=12),
    "m": _number("minute", lambda moment: moment.minute),
    "s": _number("second", lambda moment: moment.second),
    "S": _Field(_write_fraction, lambda count: r"\d{1,9}", _read_fraction, lambda count: True),
    "z": _Field(_write_zone, *_zones),
    "Z": _Field(lambda moment, count: _write_offset(moment), *_zones),
    "X": _Field(_write_iso_zone, *_zones),
}
