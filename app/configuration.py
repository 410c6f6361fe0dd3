"""The configuration of an instance: keys that every element has, secrets, and which values are admitted."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence

from app import covering
from app.errors import BadRequest
from app.hubs.documents import Field
from app.registry import Provider

MASK = covering.MASK
"""What an answer shows instead of a secret."""

TOKEN = "oauth.user.token"  # noqa: S105
REFRESH_TOKEN = "oauth.user.refresh_token"  # noqa: S105
REFRESH_INTERVAL = "oauth.user.refresh_interval"
REFRESH_TIME = "oauth.user.refresh_time"
OWNER = "oauth.user.id"
"""The vendor's id of the account's user: it tells whose a call is whose URL does not say it."""

MANAGED = frozenset({TOKEN, REFRESH_TOKEN, REFRESH_INTERVAL, REFRESH_TIME})
"""What the gateway itself keeps up to date."""

_FLAG = ("true", "false")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "event.notification.enabled": _FLAG,
    "event.notification.ordered": _FLAG,
    "event.notification.type": ("webhook",),
    "filter.response.nulls": _FLAG,
}
"""What these keys may be set to. Stored and imported values may be others, and mean the default."""

LONGEST_URL = 2000  # characters; an index entry of PostgreSQL holds 2,700 bytes
LONGEST_KEY = 200  # characters
MOST_KEYS = 500  # an element's own are about 20, and clients add a few
LARGEST = 256 * 1024  # characters in all keys and values

COMMON: tuple[Field, ...] = (
    Field("oauth.api.key", "API key", "The client id of your app at the vendor.", "PASSWORD", required=True),
    Field("oauth.api.secret", "API secret", "The client secret of your app.", "PASSWORD", required=True),
    Field(
        "oauth.callback.url",
        "Callback URL",
        "The redirect URI that is registered for your app at the vendor.",
        "TEXTFIELD_1000",
        required=True,
    ),
    Field(TOKEN, "User token", "The account's access token.", "PASSWORD", hidden=True),
    Field(REFRESH_TOKEN, "Refresh token", "The account's refresh token.", "PASSWORD", hidden=True),
    Field(REFRESH_INTERVAL, "Refresh interval", "Lifetime of the access token in s.", hidden=True),
    Field(REFRESH_TIME, "Refresh time", "When it was given, in ms since 1970.", hidden=True),
    Field(
        "event.notification.enabled",
        "Events Enabled",
        "Whether the account is polled for changes.",
        "BOOLEAN",
        "false",
    ),
    Field(
        "event.vendor.type",
        "Vendor event type",
        "How the vendor is watched: polling; or webhook, where the vendor can call, and polling beside it.",
        default="polling",
    ),
    Field(
        "event.notification.type", "Notification type", "How changes are sent: webhook.", default="webhook"
    ),
    Field(
        "event.notification.callback.url",
        "Event Notification Callback URL",
        "Where changes are POSTed. Without it they are kept.",
        "TEXTFIELD_1000",
    ),
    Field(
        "event.notification.signature.key",
        "Callback Notification Signature Key",
        "Key of the HMAC-SHA256 in Elements-Webhook-Signature.",
        "PASSWORD",
    ),
    Field(
        "event.notification.signature.secondary.key",
        "Secondary Callback Notification Signature Key",
        "A second key, in Elements-Webhook-Signature-Secondary, while receivers change over.",
        "PASSWORD",
    ),
    Field(
        "event.notification.basic.username",
        "Callback username",
        "User of the Basic auth that is sent to the callback.",
    ),
    Field(
        "event.notification.basic.password",
        "Callback password",
        "Password of the Basic auth that is sent to the callback.",
        "PASSWORD",
    ),
    Field(
        "event.notification.callback.headers",
        "Callback headers",
        "Headers of every call, as JSON or `Name: value` lines.",
        "PASSWORD",
    ),
    Field(
        "event.notification.ordered",
        "Ordered notifications",
        "Whether what concerns one object waits until what came before has arrived.",
        "BOOLEAN",
        "false",
    ),
    Field(
        "event.poller.refresh_interval",
        "Event poller refresh interval (mins)",
        "Minutes between two polls; decimals are allowed.",
        "TEXTFIELD_32",
        "15",
    ),
    Field("event.poller.configuration", "Configure Polling", "The resources to poll, as JSON.", "TEXTAREA"),
    Field(
        "event.poller.urls",
        "Resources to poll, older form",
        "Lines of `resource|url|...`; counts without event.poller.configuration.",
        "TEXTAREA",
        hidden=True,
    ),
    Field(
        "filter.response.nulls",
        "Filter null values",
        "Leave nulls out of answers.",
        "BOOLEAN",
        "true",
        hidden=True,
    ),
)

_SECRET = re.compile(
    r"(?i:password|passwd|passphrase|pwd|secret|token|credentials?|authorization|headers?|api[._-]?key)$"
    r"|(?i:^|[._-])(?i:key|key[._-]pem)$|[a-z]Key$"
)
_URL_PASSWORD = re.compile(r"(//[^/?#:]*:)[^/?#]+(?=@)")  # up to the last @, as far as a user goes
_SECRET_EXCEPTIONS = frozenset({"event.helper.key"})


def fields(provider: Provider) -> tuple[Field, ...]:
    """Every configuration key of an element, its own ones first."""
    return provider.fields + COMMON


def as_text(value: object) -> str | None:
    """Configuration values are kept and answered as strings, whatever JSON type they came in."""
    match value:
        case None | str():
            return value
        case _:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_texts(values: Mapping[str, object]) -> dict[str, str | None]:
    """A configuration as it is kept; what is chosen from words is kept as that word."""
    texts = {key: as_text(value) for key, value in values.items()}
    chosen = {key: text.strip().lower() for key in CHOICES if (text := texts.get(key))}
    return texts | {key: word for key, word in chosen.items() if word in ("", *CHOICES[key])}


def check_choices(given: Mapping[str, str | None]) -> None:
    """Raises BadRequest for a choice that there is not: taken for the default, it would switch events off."""
    for key, words in CHOICES.items():
        value = given.get(key)
        if value and value not in words:
            raise BadRequest(f"configuration.{key}: {value[:100]!r} is not valid; one of {', '.join(words)}")


def is_secret(key: str) -> bool:
    """By its last word, so that a password that a client happened to send is masked as well."""
    return bool(_SECRET.search(key)) and key not in _SECRET_EXCEPTIONS


def has_grant(values: Mapping[str, str | None]) -> bool:
    """Whether there is anything to speak to the vendor with."""
    return bool(values.get(TOKEN) or values.get(REFRESH_TOKEN))


def shown(key: str, value: str | None) -> str | None:
    """A value as an answer shows it: secrets, and passwords within URLs, are covered."""
    if value and is_secret(key):
        return MASK
    return without_password(value) if value and key.endswith(".url") else value


def changed(before: Mapping[str, str | None], given: Mapping[str, str | None]) -> dict[str, str | None]:
    """What of a given configuration is new. Clients send back what they were shown, so that is unchanged;
    and what the gateway keeps up to date itself is taken only together with a new token."""
    new = {key: value for key, value in given.items() if value != shown(key, before.get(key))}
    new = {key: value for key, value in new.items() if not (value == MASK and is_secret(key))}
    if not has_grant(new):
        new = {key: value for key, value in new.items() if key not in MANAGED}
    return new


def check(
    provider: Provider,
    configuration: Mapping[str, str | None],
    *,
    optional: Collection[str] = (),
    missing: Sequence[str] = (),
) -> None:
    """Raises BadRequest that names every missing key at once, `missing` ones included, or the first value of
    a wrong form. `optional` keys need not be there."""
    required = [field.key for field in fields(provider) if field.required and field.key not in optional]
    missing = [key for key in required if not configuration.get(key)] + list(missing)
    if missing:
        raise BadRequest(f"Missing required configuration for element '{provider.key}': {', '.join(missing)}")
    _check_tokens(configuration)
    size = sum(len(key) + len(value or "") for key, value in configuration.items())
    if len(configuration) > MOST_KEYS or size > LARGEST:
        raise BadRequest(f"configuration: holds more than {MOST_KEYS} keys or {LARGEST} characters")
    for key, value in configuration.items():
        if len(key) > LONGEST_KEY:
            raise BadRequest(f"configuration: a key is longer than {LONGEST_KEY} characters")
        covered = value == MASK if is_secret(key) else key.endswith(".url") and f":{MASK}@" in (value or "")
        if covered:
            raise BadRequest(f"configuration.{key}: is covered by stars; send the value itself")
    for field in fields(provider):
        value = configuration.get(field.key)
        if field.pattern and value and not re.fullmatch(field.pattern, value):
            raise BadRequest(f"configuration.{field.key}: {value[:100]!r} is not valid; {_expected(field)}")


def _expected(field: Field) -> str:
    """What a value should be: all the words, where it is chosen from words."""
    words = (field.pattern or "").split("|")
    chosen = all(re.fullmatch(r"\w+", word) for word in words)
    return f"one of {', '.join(words)}" if chosen else f"an example is {field.example!r}"


def _check_tokens(configuration: Mapping[str, str | None]) -> None:
    """Raises BadRequest for a lifetime or a time of tokens that is no number, or beyond all calendars."""
    for key, digits in ((REFRESH_INTERVAL, 10), (REFRESH_TIME, 13)):
        value = configuration.get(key)
        if value and not re.fullmatch(rf"\d{{1,{digits}}}", value, re.ASCII):
            raise BadRequest(f"configuration.{key}: {value[:40]!r} is not a whole number of {digits} digits")


def without_password(url: str) -> str:
    """`https://user:password@host` with the password covered."""
    return _URL_PASSWORD.sub(rf"\1{MASK}", url)
