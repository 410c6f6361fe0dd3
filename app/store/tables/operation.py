"""What the operator answers for: who did what, and the keys that seal secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from app.store.tables.columns import BigId, Json, UtcDateTime


class AuditEntry(SQLModel, table=True):
    """Who did what to what, when and from where. The database refuses to change or delete one.

    It refers to nothing, because it outlives all that it tells of: `actor` and `subject` say in words what
    the ids may no longer lead to. `details` names what was changed and never holds a secret.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_organization_id_id", "organization_id", "id"),
        Index("ix_audit_entry_organization_id_subject_id", "organization_id", "subject", "id"),
        Index("ix_audit_entry_account_id_id", "account_id", "id"),
    )

    id: int = Field(sa_type=BigId, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    organization_id: int | None = Field(None, sa_type=BigId)
    account_id: int | None = Field(None, sa_type=BigId)
    user_id: int | None = Field(None, sa_type=BigId)
    actor: str = Field(sa_type=Text)
    action: str
    subject: str = Field(sa_type=Text)
    details: dict[str, Any] = Field(default={}, sa_type=Json)
    address: str | None = None
    request_id: str | None = None


class EncryptionKey(SQLModel, table=True):
    """A key that seals rows of this database, by its id; the key itself is never here. One that has not
    been retired must be in GATEWAY_ENCRYPTION_KEYS, or rows are lost."""

    __tablename__ = "encryption_key"

    id: str = Field(primary_key=True)
    first_used_at: datetime = Field(sa_type=UtcDateTime)
    retired_at: datetime | None = Field(None, sa_type=UtcDateTime)


class SchemaCompatibility(SQLModel, table=True):
    """One row: the oldest version, by its migration, that can work with the schema as it is. A version that
    does not know the newest migration looks here before it starts (docs/decisions/0015)."""

    __tablename__ = "schema_compatibility"

    oldest_revision: str = Field(primary_key=True)
