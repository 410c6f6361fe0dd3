"""Give users roles, passwords and several secrets, accounts settings; add the states of the OAuth proxy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
LIVING = {key: sa.text("deleted_at IS NULL") for key in ("sqlite_where", "postgresql_where")}


def upgrade() -> None:
    op.create_table(
        "oauth_state",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("target_url", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_oauth_state"),
    )
    op.create_index("ix_oauth_state_expires_at", "oauth_state", ["expires_at"])
    op.create_table(
        "secret",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("organization_id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=True),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name="fk_secret_organization_id_organization"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["gateway_user.id"], name="fk_secret_user_id_gateway_user"),
        sa.PrimaryKeyConstraint("id", name="pk_secret"),
        sa.UniqueConstraint("hash", name="uq_secret_hash"),
    )
    op.create_index("ix_secret_organization_id", "secret", ["organization_id"])
    op.create_index("ix_secret_user_id", "secret", ["user_id"])
    with op.batch_alter_table("account") as batch_op:
        batch_op.add_column(sa.Column("description", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("external_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("settings", JSON, nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("updated_at", TIME, nullable=True))
        batch_op.add_column(sa.Column("deleted_at", TIME, nullable=True))
    with op.batch_alter_table("gateway_user") as batch_op:
        batch_op.add_column(sa.Column("organization_id", BIG_ID, nullable=True))
        batch_op.add_column(sa.Column("role", sa.String(), nullable=False, server_default="org-admin"))
        batch_op.add_column(sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("password_hash", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("updated_at", TIME, nullable=True))
        batch_op.add_column(sa.Column("deleted_at", TIME, nullable=True))
    op.execute("UPDATE account SET updated_at = created_at")
    op.execute(
        "UPDATE gateway_user SET updated_at = created_at, email = lower(email), organization_id = "
        "(SELECT organization_id FROM account WHERE account.id = gateway_user.account_id)"
    )
    op.execute(
        "INSERT INTO secret (kind, organization_id, hash, created_at) "
        "SELECT 'organization', id, secret_hash, created_at FROM organization"
    )
    op.execute(
        "INSERT INTO secret (kind, organization_id, user_id, hash, created_at) "
        "SELECT 'user', organization_id, id, secret_hash, created_at FROM gateway_user"
    )
    with op.batch_alter_table("account") as batch_op:
        batch_op.alter_column("updated_at", nullable=False)
        batch_op.alter_column("settings", server_default=None)
    with op.batch_alter_table("gateway_user") as batch_op:
        batch_op.alter_column("updated_at", nullable=False)
        batch_op.alter_column("organization_id", nullable=False)
        batch_op.alter_column("role", server_default=None)
        batch_op.alter_column("active", server_default=None)
        batch_op.drop_constraint("uq_gateway_user_secret_hash", type_="unique")
        batch_op.drop_column("secret_hash")
        batch_op.create_foreign_key(
            "fk_gateway_user_organization_id_organization", "organization", ["organization_id"], ["id"]
        )
        batch_op.create_index("ix_gateway_user_email", ["email"], **LIVING)
        batch_op.create_index(
            "uq_gateway_user_organization_id_email", ["organization_id", "email"], unique=True, **LIVING
        )
    with op.batch_alter_table("organization") as batch_op:
        batch_op.drop_constraint("uq_organization_secret_hash", type_="unique")
        batch_op.drop_column("secret_hash")


def downgrade() -> None:
    """Each owner keeps his newest secret. Owners without one get a value that no secret has, and so do users
    who may not call: nothing says that of them any more."""
    for name in ("organization", "gateway_user"):
        with op.batch_alter_table(name) as batch_op:
            batch_op.add_column(sa.Column("secret_hash", sa.String(), nullable=True))
    op.execute(
        "UPDATE organization SET secret_hash = coalesce((SELECT hash FROM secret WHERE "
        "kind = 'organization' AND organization_id = organization.id ORDER BY secret.id DESC LIMIT 1), "
        "'none-' || id)"
    )
    op.execute(
        "UPDATE gateway_user SET secret_hash = coalesce((SELECT hash FROM secret WHERE "
        "kind = 'user' AND user_id = gateway_user.id AND gateway_user.active "
        "AND gateway_user.deleted_at IS NULL ORDER BY secret.id DESC LIMIT 1), 'none-' || id)"
    )
    op.drop_table("secret")
    op.drop_table("oauth_state")
    with op.batch_alter_table("gateway_user") as batch_op:
        batch_op.drop_index("ix_gateway_user_email")
        batch_op.drop_index("uq_gateway_user_organization_id_email")
        batch_op.drop_constraint("fk_gateway_user_organization_id_organization", type_="foreignkey")
        for column in ("organization_id", "role", "active", "password_hash", "updated_at", "deleted_at"):
            batch_op.drop_column(column)
        batch_op.alter_column("secret_hash", nullable=False)
        batch_op.create_unique_constraint("uq_gateway_user_secret_hash", ["secret_hash"])
    with op.batch_alter_table("account") as batch_op:
        for column in ("description", "external_id", "settings", "updated_at", "deleted_at"):
            batch_op.drop_column(column)
    with op.batch_alter_table("organization") as batch_op:
        batch_op.alter_column("secret_hash", nullable=False)
        batch_op.create_unique_constraint("uq_organization_secret_hash", ["secret_hash"])
