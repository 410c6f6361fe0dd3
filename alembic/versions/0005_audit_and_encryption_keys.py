"""Add an audit that can only grow, and a list of the keys that seal rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

REFUSE = "an entry of the audit cannot be changed"
APPEND_ONLY_SQLITE = """CREATE TRIGGER audit_entry_no_{verb} BEFORE {verb} ON audit_entry
BEGIN SELECT RAISE(ABORT, '{refuse}'); END"""
REFUSE_POSTGRESQL = """CREATE FUNCTION audit_entry_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{refuse}'; END $$"""
APPEND_ONLY_POSTGRESQL = """CREATE TRIGGER audit_entry_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_refuse()"""


def upgrade() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("organization_id", BIG_ID, nullable=True),
        sa.Column("account_id", BIG_ID, nullable=True),
        sa.Column("user_id", BIG_ID, nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_organization_id_id", "audit_entry", ["organization_id", "id"])
    op.create_index("ix_audit_entry_account_id_id", "audit_entry", ["account_id", "id"])
    op.create_table(
        "encryption_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("first_used_at", TIME, nullable=False),
        sa.Column("retired_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_key"),
    )
    _make_append_only()


def _make_append_only() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(REFUSE_POSTGRESQL.format(refuse=REFUSE))
        op.execute(APPEND_ONLY_POSTGRESQL)
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(APPEND_ONLY_SQLITE.format(verb=verb, refuse=REFUSE))


def downgrade() -> None:
    op.drop_table("encryption_key")
    op.drop_table("audit_entry")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_entry_refuse()")
