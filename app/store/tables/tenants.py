"""Organizations, accounts, users and their secrets."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from app.store.tables.columns import BigId, Json, UtcDateTime, only

_LIVING = only("deleted_at IS NULL")


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
