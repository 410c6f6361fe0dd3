"""Every setting, with its unit and its reason."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSource
from sqlalchemy.engine import URL

from app.backoff import RetryPlan
from app.errors import SettingsError
from app.settings import database_url
from app.settings.secret_files import SecretFiles
from app.settings.types import Duration, OAuthApp, UrlBeginning

PREFIX = "GATEWAY_"


class Settings(BaseSettings):
    """What an operator can set, as environment variables or in a file `.env`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    # Where it listens and what it writes
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="TCP port that the API listens on.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = Field("text", description="One line per event as text or as JSON.")

    public_url: str | None = Field(
        None,
        pattern=r"https?://[^/?#]+(/[^?#]*)?",
        description="URL at which clients reach this gateway, for the links that it hands out. Empty: what "
        "the request was sent to.",
    )
    trusted_proxies: list[IPv4Network | IPv6Network] = Field(
        [],
        description="Addresses and networks of the proxies in front of this gateway, as JSON; of them alone "
        "`X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
    )

    # Clients
    client_connections: int = Field(
        5000, ge=1, description="Connections of clients per process; one more is answered 503 and closed."
    )
    client_timeout: Duration = Field(
        timedelta(seconds=30),
        description="Time for the headers of a request, longest silence within its body, and longest time in "
        "which a client takes no byte of an answer, in seconds.",
    )
    keep_alive: Duration = Field(
        timedelta(seconds=65),
        description="Time for which a connection is kept for a next request, in seconds; longer than a proxy "
        "in front keeps it.",
    )
    caller_rate: float = Field(
        200,
        ge=0,
        le=1_000_000,
        description="Requests that one caller (an Element token, else a User secret or a login) may make of "
        "each process per second; five times as many may come at once. 0: no limit.",
    )
    failed_authentications: int = Field(
        20,
        ge=0,
        le=1_000_000,
        description="Failed authentications per minute and process with one secret, or as one user, from one "
        "address; ten times as many of one address, or as one user, in all. 0: no limit.",
    )

    secrets_dir: Path | None = Field(
        None,
        description="Directory whose files are settings too, each called as its variable is "
        "(`/run/secrets` with a file `GATEWAY_ENCRYPTION_KEYS`); a `GATEWAY_*` in it that is no file or no "
        "setting is refused. The environment and `.env` come first.",
    )

    # Requests
    cors_origins: list[str] = Field(
        ["*"], description="Origins whose browsers may call the API, as JSON; no cookie is ever used."
    )
    body_limit: ByteSize = Field(
        ByteSize(2**20),
        ge=1024,
        description="Largest JSON body that is read, in bytes (`1MiB` is understood).",
    )
    upload_limit: ByteSize | None = Field(
        None, ge=1, description="Largest request that an upload of a file may be, in bytes. Empty: no limit."
    )
    login_lifetime: Duration = Field(
        timedelta(hours=12),
        description="Time after which the token of `POST /authentication` ends, in seconds.",
    )

    # OAuth
    oauth_apps: dict[str, OAuthApp] = Field(
        {},
        description="Apps of your own at the vendors, per element key as JSON, for accounts that are "
        "connected without one of their owner's: "
        '`{"box": {"key": "..", "secret": "..", "callback_url": ".."}}`. '
        "Without `callback_url` it is this gateway's OAuth proxy.",
    )
    oauth_proxy_targets: list[UrlBeginning] = Field(
        [],
        description="Beginnings of the URLs that the OAuth proxy may send codes to for callers without "
        'credentials, as JSON: `["https://app.example.com/"]`. Callers with a User and an Organization '
        "secret may name any.",
    )
    oauth_state_lifetime: Duration = Field(
        timedelta(hours=1), description="Time that the owner of an account has for his consent, in seconds."
    )

    # Documents
    page_size_limit: int = Field(
        5000, ge=200, description="Files and folders that one page of a list holds, at most."
    )
    link_lifetime: Duration = Field(
        timedelta(days=30),
        description="Time after which a `cloudElementsLink` ends, if its request names none, in seconds.",
    )

    # Store
    database_url: SecretStr = Field(
        SecretStr("sqlite:///data/gateway.db"),
        description="`sqlite:///path` for the embedded database, `postgresql://user:password@host/name` "
        "for many processes.",
    )
    database_connections: int = Field(
        10,
        ge=2,
        description="Open database connections per process, at most; one of a worker's listens. Times the "
        "number of processes they must be fewer than PostgreSQL's `max_connections`.",
    )
    database_timeout: Duration = Field(
        timedelta(seconds=30),
        description="Longest wait for a database lock or connection, in seconds; a transaction in which a "
        "process does nothing for half of it is ended.",
    )
    database_statement_timeout: Duration = Field(
        timedelta(seconds=60),
        description="Longest time one statement may take, in seconds; longer than GATEWAY_DATABASE_TIMEOUT.",
    )
    database_wait: Duration = Field(
        timedelta(seconds=60),
        description="Time for which a start waits for a PostgreSQL that cannot be reached yet, in seconds.",
    )
    migrate_on_start: bool = Field(
        True, description="Bring the schema to the newest version at start; processes take turns."
    )
    encryption_keys: SecretStr | None = Field(
        None,
        description="Keys that seal tokens and secrets at rest: 32 bytes each in base64, comma-separated, "
        "newest first (`gateway keys new` prints one). Required on PostgreSQL; on SQLite a key "
        "file `gateway.key` is made beside the database when this is empty.",
    )

    # Vendors
    provider_base_urls: dict[str, str] = Field(
        {},
        description="Base URL per element key as JSON, where it is not the vendor's public one "
        '(a government host, the sandbox): `{"egnyte": "https://{subdomain}.egnytegov.com"}`. A vendor\'s '
        "other hosts follow it, or are set as `box.upload` and `box.account`.",
    )
    vendor_timeout: Duration = Field(
        timedelta(seconds=20), description="Longest time one request to a vendor may take, in seconds."
    )
    vendor_budget: Duration = Field(
        timedelta(seconds=40),
        description="Time within which a call of a client waits for a vendor's rate limit and tries again, "
        "in seconds.",
    )
    transfer_timeout: Duration = Field(
        timedelta(minutes=2),
        description="Longest silence of a vendor after an upload or within a passed-through call, "
        "in seconds.",
    )
    vendor_connections: int = Field(
        200, ge=1, description="Open connections to vendors per process, at most."
    )

    # Poller
    poll_interval: Duration = Field(
        timedelta(minutes=15),
        description="Time between two polls of an account that names no `event.poller.refresh_interval`, "
        "in seconds.",
    )
    poll_interval_floor: Duration = Field(
        timedelta(minutes=1),
        description="Shortest `event.poller.refresh_interval` that is honoured, in seconds; shorter ones "
        "are lengthened to it.",
    )
    poll_concurrency: int = Field(
        32, ge=1, description="Accounts that one worker polls at the same time; most of a poll is waiting."
    )
    long_polls_at_once: int = Field(
        2000,
        ge=1,
        description="Accounts whose vendor says by itself when something changes, and that one worker waits "
        "for at the same time; each is an open connection.",
    )
    poll_timeout: Duration = Field(
        timedelta(seconds=60), description="Longest time one page of changes may take, in seconds."
    )
    poll_lease: Duration = Field(
        timedelta(seconds=90),
        description="Time for which a worker holds an account; after a crash another worker takes over "
        "when it has passed. In seconds; longer than GATEWAY_POLL_TIMEOUT.",
    )
    poll_backoff_longest: Duration = Field(
        timedelta(hours=1), description="Longest rest of an account whose vendor keeps failing, in seconds."
    )

    # Webhooks of vendors
    vendor_webhook_timeout: Duration = Field(
        timedelta(seconds=60),
        description="Longest time that making, renewing or ending the webhooks of one account at its vendor "
        "may take, in seconds.",
    )

    # Async requests
    async_request_timeout: Duration = Field(
        timedelta(minutes=5),
        description="Longest time that one run of a request with `Elements-Async-Request` may take, in "
        "seconds; its worker holds it a minute longer.",
    )
    async_request_concurrency: int = Field(
        8, ge=1, description="Async requests that one worker runs at the same time."
    )

    # Dispatcher
    callback_timeout: Duration = Field(
        timedelta(seconds=15), description="Longest time one POST to a callback may take, in seconds."
    )
    callback_turn: Duration = Field(
        timedelta(seconds=5),
        description="Time within one lease during which new POSTs to a callback are started, in seconds.",
    )
    callback_lease: Duration = Field(
        timedelta(seconds=30),
        description="Time for which a worker holds a callback; after a crash another worker takes over when "
        "it has passed. In seconds; longer than GATEWAY_CALLBACK_TURN and GATEWAY_CALLBACK_TIMEOUT together.",
    )
    callback_concurrency: int = Field(
        16, ge=1, description="POSTs in flight to one callback, at most: the cap that spares its receiver."
    )
    callback_batch: int = Field(
        200, ge=1, description="Deliveries that one lease of a callback reads, at most; bounds memory."
    )
    callbacks_at_once: int = Field(
        128,
        ge=2,
        description="Callbacks that one worker serves at once; slow or failing ones take half of the places "
        "at most.",
    )
    callback_retry: RetryPlan = Field(
        RetryPlan.NINE,
        description="Retries of a failed delivery: `9x4` is 9 of them after 4^x seconds (4 s .. 72.8 h), "
        "`5x8` is 5 after 8^x seconds (8 s .. 9.1 h).",
    )
    callback_allowed_networks: list[IPv4Network | IPv6Network] = Field(
        [],
        description="Networks that are not public and that callbacks may nevertheless live in, as JSON: "
        '`["10.0.0.0/8"]`. Whoever may name a callback is shown the first 500 characters of what it answers. '
        "Metadata services of clouds are opened by their own addresses only (`169.254.169.254/32`).",
    )

    # Retention
    event_retention: Duration = Field(
        timedelta(days=90),
        description="Age after which notifications that were delivered or acknowledged are deleted with "
        "their events and deliveries, in seconds. What is not delivered is kept.",
    )
    unclaimed_retention: Duration | None = Field(
        None,
        description="Age after which notifications that were neither sent nor acknowledged, because their "
        "instance had no subscription, are deleted with their events, in seconds. Empty: never.",
    )
    memory_retention: Duration = Field(
        timedelta(days=365),
        description="Age of the last event of a file or folder after which the gateway forgets it: the next "
        "event of it is its first again. In seconds.",
    )

    # Workers
    worker_idle: Duration = Field(
        timedelta(seconds=1),
        description="Longest sleep of an idle worker before it looks for due work again, in seconds.",
    )
    drain_timeout: Duration = Field(
        timedelta(seconds=30),
        description="Time that a stopping worker gives to what is in flight, in seconds; longer than "
        "GATEWAY_CALLBACK_TIMEOUT.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from; the earlier source counts."""
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuses values that contradict each other, with a sentence that names both settings."""
        self._must_exceed("poll_lease", "poll_timeout")
        self._must_exceed("database_statement_timeout", "database_timeout")
        self._must_exceed("drain_timeout", "callback_timeout")
        self._must_exceed("poll_timeout", "vendor_timeout")
        self._must_exceed("vendor_budget", "vendor_timeout")
        if self.callback_lease <= self.callback_turn + self.callback_timeout:
            raise ValueError(
                f"GATEWAY_CALLBACK_LEASE ({_seconds(self.callback_lease)}) must be longer than "
                f"GATEWAY_CALLBACK_TURN ({_seconds(self.callback_turn)}) and GATEWAY_CALLBACK_TIMEOUT "
                f"({_seconds(self.callback_timeout)}) together: a lease that ends while a POST is in flight "
                "would let two workers send it"
            )
        self._must_not_be_shorter("poll_interval", "poll_interval_floor")
        for name in ("unclaimed_retention", "memory_retention"):
            self._must_not_be_shorter(name, "event_retention")
        if not self.embedded and self.encryption_keys is None:
            raise ValueError(
                "GATEWAY_ENCRYPTION_KEYS is required when GATEWAY_DATABASE_URL is a PostgreSQL database, "
                "because all processes must share the key; `gateway keys new` prints a fresh one"
            )
        return self

    def _must_exceed(self, longer: str, shorter: str) -> None:
        one, other = getattr(self, longer), getattr(self, shorter)
        if one <= other:
            raise ValueError(
                f"{PREFIX}{longer.upper()} ({_seconds(one)}) must be longer than "
                f"{PREFIX}{shorter.upper()} ({_seconds(other)})"
            )

    def _must_not_be_shorter(self, longer: str, shorter: str) -> None:
        one, other = getattr(self, longer), getattr(self, shorter)
        if one is not None and one < other:
            raise ValueError(
                f"{PREFIX}{longer.upper()} ({_seconds(one)}) must not be shorter than "
                f"{PREFIX}{shorter.upper()} ({_seconds(other)})"
            )

    @property
    def database(self) -> URL:
        """The URL with the async driver that the store uses for this kind of database."""
        return database_url.understood(self.database_url.get_secret_value())

    @property
    def embedded(self) -> bool:
        return self.database.get_backend_name() == "sqlite"

    @property
    def key_file(self) -> Path:
        """Where the embedded database keeps its key."""
        return Path(self.database.database or "data/gateway.db").parent / "gateway.key"


def load(**overrides: object) -> Settings:
    """Reads the environment. Raises SettingsError with one sentence per mistake, never with a secret."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_sentence(item["loc"], item["msg"]) for item in error.errors())
        ) from None
    except UnreadableSource as error:
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        why = (
            "its file cannot be read"
            if isinstance(error.__cause__, OSError | UnicodeError)
            else "not valid JSON"
        )
        raise SettingsError(f"{PREFIX}{name.upper()}: {why}") from None


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{PREFIX}{str(location[0]).upper()}: {text}" if location else text


def _seconds(value: timedelta) -> str:
    return f"{value.total_seconds():g} s"
