"""The tables. Every row that a hot path touches carries its `account_id`, so that accounts can be spread
over databases; no query on a hot path joins across accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: MetaData = SQLModel.metadata


class UtcDateTime(TypeDecorator[datetime]):
    """A time with a zone, in and out, on both databases (SQLite itself knows no zones)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value


BigId = BigInteger().with_variant(Integer, "sqlite")
"""Only INTEGER counts upwards by itself on SQLite."""

Json = JSON().with_variant(JSONB, "postgresql")


def _only(condition: str) -> Any:
    """A partial index, on both databases."""
    return {name: text(condition) for name in ("sqlite_where", "postgresql_where")}


_DUE = _only("due_at IS NOT NULL")
_QUEUED = _only("status = 'queued'")
_LIVING = _only("deleted_at IS NULL")


class DeliveryStatus(StrEnum):
    """Cloud Elements' words: created and retry wait for their time, queued waits for its owner."""

    CREATED = "created"
    RETRY = "retry"
    DELIVERED = "delivered"
    QUEUED = "queued"


class ExternalAuthentication(StrEnum):
    """Who asked the owner of an account for his consent: a client of the gateway, or somebody before it."""

    NONE = "none"
    INITIAL = "initial"


class Role(StrEnum):
    """What a user may do beside using the instances of his account; each role includes the ones below it."""

    ORGANIZATION = "org-admin"
    ACCOUNT = "admin"
    USER = "user"


class SecretKind(StrEnum):
    """An organization's and a user's secret prove a caller together, the token of a login does alone. Pairs
    that were asked for with a login prove as much as the others; only the newest of them stay."""

    ORGANIZATION = "organization"
    ORGANIZATION_BY_LOGIN = "organization-by-login"
    USER = "user"
    USER_BY_LOGIN = "user-by-login"
    LOGIN = "login"


class FailurePolicy(StrEnum):
    """What an account wants for notifications that its receivers did not take."""

    RETRY = "retry"
    QUEUE = "queue"


FAILURE_POLICY = "notification.webhook.failure.policy"
"""The setting of an account that holds its FailurePolicy."""


class Organization(SQLModel, table=True):
    """A customer of the operator."""

    id: int = Field(sa_type=BigId, primary_key=True)
    name: str
    created_at: datetime = Field(sa_type=UtcDateTime)


class Account(SQLModel, table=True):
    """What owns instances; sees nothing of other accounts. `settings` are the owner's, as Cloud Elements
    names them."""

    id: int = Field(sa_type=BigId, primary_key=True)
    organization_id: int = Field(foreign_key="organization.id", index=True, sa_type=BigId)
    name: str
    description: str | None = Field(None, sa_type=Text)
    external_id: str | None = None
    settings: dict[str, str] = Field(default={}, sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(None, sa_type=UtcDateTime)


class User(SQLModel, table=True):
    """Who calls. His e-mail address is written in lower case, and is his alone in his organization."""

    __tablename__ = "gateway_user"  # "user" is a reserved word in PostgreSQL
    __table_args__ = (
        Index("uq_gateway_user_organization_id_email", "organization_id", "email", unique=True, **_LIVING),
        Index("ix_gateway_user_email", "email", **_LIVING),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    organization_id: int = Field(foreign_key="organization.id", sa_type=BigId)
    account_id: int = Field(foreign_key="account.id", index=True, sa_type=BigId)
    email: str
    first_name: str
    last_name: str
    role: str
    active: bool
    password_hash: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(None, sa_type=UtcDateTime)


class Secret(SQLModel, table=True):
    """A secret that proves an organization or a user. Only its hash is kept, so that nobody can read it
    again; an owner may have several, so that a new one can be brought in while the old one still works."""

    id: int = Field(sa_type=BigId, primary_key=True)
    kind: str
    organization_id: int = Field(foreign_key="organization.id", index=True, sa_type=BigId)
    user_id: int | None = Field(None, foreign_key="gateway_user.id", index=True, sa_type=BigId)
    hash: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(None, sa_type=UtcDateTime)


class OAuthState(SQLModel, table=True):
    """A consent that was asked for through the gateway's own callback URL, and where its answer goes. The
    state works once; only its hash is kept."""

    __tablename__ = "oauth_state"

    hash: str = Field(primary_key=True)
    target_url: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Instance(SQLModel, table=True):
    """One connected account at a vendor. Its secrets are in `credential`."""

    __table_args__ = (Index("ix_instance_account_id_id", "account_id", "id"),)

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(foreign_key="account.id", sa_type=BigId)
    user_id: int = Field(foreign_key="gateway_user.id", index=True, sa_type=BigId)
    element_key: str
    name: str
    tags: list[str] = Field(sa_type=Json)
    configuration: dict[str, str | None] = Field(sa_type=Json)
    external_authentication: str
    token_hash: str = Field(unique=True)
    valid: bool
    disabled: bool
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(None, sa_type=UtcDateTime)


class Credential(SQLModel, table=True):
    """The sealed secrets of an instance: its element token, client secret and vendor tokens.

    Who refreshes the tokens holds the row by `fence` until `leased_until`, because a refresh token may
    work only once.
    """

    instance_id: int = Field(sa_type=BigId, primary_key=True, foreign_key="instance.id")
    account_id: int = Field(sa_type=BigId)
    sealed: bytes = Field(sa_type=LargeBinary)
    version: int
    leased_until: datetime | None = Field(None, sa_type=UtcDateTime)
    fence: int | None = Field(None, sa_type=BigInteger)


class FileLink(SQLModel, table=True):
    """A link to a file that works without credentials. `sealed` holds its token, to be shown again; it is
    looked up by the token's hash."""

    __tablename__ = "link"
    __table_args__ = (UniqueConstraint("instance_id", "object_id"),)

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, foreign_key="instance.id")
    object_id: str = Field(sa_type=Text)
    token_hash: str = Field(unique=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Duty(SQLModel):
    """A row that a worker does something about when it is due, and holds by a lease meanwhile.

    `due_at` is empty when there is nothing to do, and the partial index on it knows only due rows. A
    worker owns the row while `fence` is the one it drew and `leased_until` has not passed.
    """

    id: int = Field(sa_type=BigId, primary_key=True)
    due_at: datetime | None = Field(None, sa_type=UtcDateTime)
    leased_until: datetime | None = Field(None, sa_type=UtcDateTime)
    fence: int | None = Field(None, sa_type=BigInteger)


class Poller(Duty, table=True):
    """The reading of one resource of one instance: where it stands and when it goes on."""

    __table_args__ = (
        UniqueConstraint("instance_id", "resource"),
        Index("ix_poller_due_at", "due_at", **_DUE),
    )

    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, foreign_key="instance.id")
    resource: str
    page_size: int
    interval_seconds: float
    cursor: str
    polled_at: datetime | None = Field(None, sa_type=UtcDateTime)
    failures: int = 0
    error: str | None = Field(None, sa_type=Text)
    error_at: datetime | None = Field(None, sa_type=UtcDateTime)
    gap_from: datetime | None = Field(None, sa_type=UtcDateTime)
    gap_to: datetime | None = Field(None, sa_type=UtcDateTime)


class Event(SQLModel, table=True):
    """One change at the vendor. `key` is the vendor's own id of it; `row` is what the events API answers."""

    __table_args__ = (UniqueConstraint("instance_id", "key"),)

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    notification_id: int = Field(sa_type=BigId)
    key: str
    event_date: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    row: dict[str, Any] = Field(sa_type=Json)


class Callback(Duty, table=True):
    """One URL of one account that notifications go to. It is the unit of leasing, so that a receiver has
    one worker at a time, its own share of connections, and nobody waits for its time-outs."""

    __table_args__ = (
        UniqueConstraint("account_id", "url"),
        Index("ix_callback_slow_due_at", "slow", "due_at", **_DUE),
    )

    account_id: int = Field(sa_type=BigId)
    url: str = Field(sa_type=Text)
    slow: bool = False


class Subscription(SQLModel, table=True):
    """Where an instance's notifications go. `sealed` holds the signature key."""

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId, index=True)
    callback_id: int = Field(sa_type=BigId, foreign_key="callback.id")
    topic: str
    active: bool
    inactive_reason: str | None = None
    sealed: bytes | None = Field(None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Notification(SQLModel, table=True):
    """A body of up to 10 events, exactly as it is signed and sent."""

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    topic: str
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Delivery(SQLModel, table=True):
    """One notification on its way to one subscription."""

    __table_args__ = (
        Index("ix_delivery_callback_id_due_at", "callback_id", "due_at", **_DUE),
        Index("ix_delivery_subscription_id", "subscription_id", **_QUEUED),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    account_id: int = Field(sa_type=BigId)
    instance_id: int = Field(sa_type=BigId)
    notification_id: int = Field(sa_type=BigId)
    subscription_id: int = Field(sa_type=BigId)
    callback_id: int = Field(sa_type=BigId)
    status: str
    attempts: int = 0
    due_at: datetime | None = Field(None, sa_type=UtcDateTime)
    last_status: int | None = None
    last_error: str | None = Field(None, sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


def table(model: type[SQLModel]) -> Any:
    """The Core table behind a model: what every statement of the store is written on."""
    return model.__table__  # type: ignore[attr-defined]
