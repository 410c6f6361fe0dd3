"""Add an audit that can only grow, a list of the keys that seal rows, and how old a version may be.

To workers of version 0004 that run meanwhile it only adds: three tables and a column that they do not know
(the URL of a subscription as it is shown once its user and password are sealed); storage parameters, which no
reader or writer waits for; and it drops an index that no statement has used, for which writers of
`async_request` wait a moment. Workers of 0004 cannot be started anew on it: they know of no newer schema.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
oldest = "0004"  # the oldest version that can work with this schema (docs/decisions/0015)
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

SEALED_TABLES = ("credential", "vendor_webhook", "subscription", "link")
KEY_ID_BYTES = 8

# Room in each page for the next version of a row, so that its indexes need not be written where no column of
# theirs changes; and large tables are looked after for each 50th row that has ended, not for each fifth.
ROOMY = {"callback": 50, "poller": 70, "event_sequence": 70, "credential": 75, "vendor_webhook": 75}
OFTEN = ("delivery", "attempt", "notification", "event", "known_object")
TOASTED = ("notification", "event")
AUTOVACUUM = ("autovacuum_vacuum_scale_factor = 0.02", "autovacuum_analyze_scale_factor = 0.02")

REFUSE = "an entry of the audit cannot be changed"
APPEND_ONLY_SQLITE = """CREATE TRIGGER audit_entry_no_{verb} BEFORE {verb} ON audit_entry
BEGIN SELECT RAISE(ABORT, '{refuse}'); END"""
NO_REPLACE_SQLITE = """CREATE TRIGGER audit_entry_no_replace BEFORE INSERT ON audit_entry
WHEN EXISTS (SELECT 1 FROM audit_entry WHERE id = NEW.id)
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
    op.create_index(
        "ix_audit_entry_organization_id_subject_id", "audit_entry", ["organization_id", "subject", "id"]
    )
    op.create_index("ix_audit_entry_account_id_id", "audit_entry", ["account_id", "id"])
    keys = op.create_table(
        "encryption_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("first_used_at", TIME, nullable=False),
        sa.Column("retired_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_key"),
    )
    compatible = op.create_table(
        "schema_compatibility",
        sa.Column("oldest_revision", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("oldest_revision", name="pk_schema_compatibility"),
    )
    op.bulk_insert(compatible, [{"oldest_revision": oldest}])
    now = datetime.now(UTC)
    op.bulk_insert(keys, [{"id": key_id, "first_used_at": now} for key_id in sorted(_keys_in_use())])
    _make_append_only()
    op.drop_index("ix_async_request_instance_id", "async_request")
    op.add_column("subscription", sa.Column("shown_url", sa.Text(), nullable=True))
    _set_storage()


def _set_storage() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for name, percent in ROOMY.items():
        op.execute(f"ALTER TABLE {name} SET (fillfactor = {percent})")
    for name in OFTEN:
        toasted = [f"toast.{AUTOVACUUM[0]}"] if name in TOASTED else []
        op.execute(f"ALTER TABLE {name} SET ({', '.join([*AUTOVACUUM, *toasted])})")


def _reset_storage() -> None:
    for name in ROOMY:
        op.execute(f"ALTER TABLE {name} RESET (fillfactor)")
    for name in OFTEN:
        changed = [item.partition(" ")[0] for item in AUTOVACUUM]
        toasted = [f"toast.{changed[0]}"] if name in TOASTED else []
        op.execute(f"ALTER TABLE {name} RESET ({', '.join([*changed, *toasted])})")


def _keys_in_use() -> set[str]:
    """The ids of the keys that have sealed rows so far, so that the first start knows if one is missing."""
    found = set()
    for name in SEALED_TABLES:
        sealed = sa.column("sealed", sa.LargeBinary())
        key_id = sa.type_coerce(sa.func.substr(sealed, 1, KEY_ID_BYTES), sa.LargeBinary())
        rows = sa.select(key_id).select_from(sa.table(name)).where(sealed.is_not(None)).distinct()
        found |= {bytes(item).hex() for item in op.get_bind().scalars(rows)}
    return found


def _make_append_only() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(REFUSE_POSTGRESQL.format(refuse=REFUSE))
        op.execute(APPEND_ONLY_POSTGRESQL)
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(APPEND_ONLY_SQLITE.format(verb=verb, refuse=REFUSE))
    op.execute(NO_REPLACE_SQLITE.format(refuse=REFUSE))  # INSERT OR REPLACE deletes without a trigger


def downgrade() -> None:
    op.drop_column("subscription", "shown_url")
    op.create_index("ix_async_request_instance_id", "async_request", ["instance_id"])
    op.drop_table("schema_compatibility")
    op.drop_table("encryption_key")
    op.drop_table("audit_entry")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_entry_refuse()")
        _reset_storage()
