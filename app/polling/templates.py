"""The placeholders in the URL of a polled resource: `${gmtDate:FMT}` and its relatives."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote

from app.polling import dates

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_ZONED = re.compile(r"((?:GMT|UTC)?[+-]\d{1,2}(?::?\d{2})?(?=:)|[^:]*):(.*)", re.IGNORECASE | re.DOTALL)
_AS_IT_IS = "/?&=%:,;@!$'()*+-._~[]"  # of a URL; an apostrophe belongs to many a `where`


def fill(url: str, since: datetime) -> str:
    """The URL with a moment in its placeholders, percent-encoded wherever it has to be. Raises ValueError
    for a placeholder or a zone that does not exist."""
    pieces, end = [], 0
    for found in _PLACEHOLDER.finditer(url, 0, url.rfind("}") + 1):  # else each `${` reads to the end
        pieces += [_encoded(url[end : found.start()]), quote(_value(found[1], since), safe="")]
        end = found.end()
    return "".join([*pieces, _encoded(url[end:])])


def check(url: str) -> None:
    """Raises ValueError for a placeholder of which `fill` makes something that nobody means."""
    for found in _PLACEHOLDER.finditer(url, 0, url.rfind("}") + 1):
        kind, colon, pattern = found[1].partition(":")
        zoned = _ZONED.fullmatch(pattern) if kind == "dateTimeZone" else None
        if zoned or (colon and kind in ("date", "gmtDate")):
            pattern = zoned[2] if zoned else pattern
            if not pattern:
                raise ValueError(f"'{found[0][:100]}' has no date pattern")
            dates.check(pattern)
    if "${" in url[url.rfind("}") + 1 :]:
        raise ValueError("a placeholder lacks its closing brace")


def _encoded(text: str) -> str:
    """A percent sign stays where it begins an encoded character."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe=_AS_IT_IS))


def _value(name: str, since: datetime) -> str:
    """What a placeholder stands for. Without a format a date is in milliseconds since 1970."""
    kind, _, rest = name.partition(":")
    match kind, rest:
        case ("epoch", "" | "ms") | ("date" | "gmtDate", ""):
            return str(dates.milliseconds(since))
        case "epoch", "s":
            return str(dates.milliseconds(since) // 1000)
        case "epoch", "us":
            return str(dates.milliseconds(since) * 1000 + since.microsecond % 1000)
        case (("gmtDate" | "date"), _):
            return dates.write(since, rest, UTC)
        case "dateTimeZone", _ if found := _ZONED.fullmatch(rest):
            return dates.write(since, found[2], dates.zone(found[1]))
        case _:
            raise ValueError(f"'${{{name[:100]}}}' is not a placeholder")
