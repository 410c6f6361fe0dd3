"""Instances, their secrets and their links."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.store.tables.columns import BigId, Json, UtcDateTime


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
