"""Add what complete events need: numbers and a log, a memory of objects, ordered deliveries and their
attempts, webhooks of vendors, requests that nobody waits for."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
DUE = {key: sa.text("due_at IS NOT NULL") for key in ("sqlite_where", "postgresql_where")}
ENDED = {key: sa.text("ended_at IS NOT NULL") for key in ("sqlite_where", "postgresql_where")}
OF_REQUESTS = {key: sa.text("resource = 'async'") for key in ("sqlite_where", "postgresql_where")}
OWNED = {key: sa.text("owner IS NOT NULL") for key in ("sqlite_where", "postgresql_where")}
PAIRED = {key: sa.text("twin IS NOT NULL") for key in ("sqlite_where", "postgresql_where")}
QUEUED = {key: sa.text("status = 'queued'") for key in ("sqlite_where", "postgresql_where")}
DEFAULTED = {
    "notification": ("resource", "via"),
    "poller": ("waits",),
    "subscription": ("configured", "ordered"),
}


def upgrade() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("delivery_id", BIG_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
    )
    op.create_index("ix_attempt_delivery_id", "attempt", ["delivery_id"])
    op.create_table(
        "delivery_object",
        sa.Column("subscription_id", BIG_ID, nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "object_key", "position", name="pk_delivery_object"),
    )
    op.create_index("ix_delivery_object_delivery_id", "delivery_object", ["delivery_id"])
    op.create_table(
        "event_sequence",
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name="pk_event_sequence"),
    )
    op.create_table(
        "known_object",
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("path_key", sa.LargeBinary(), nullable=True),
        sa.Column("parent_object_id", sa.Text(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "object_key", name="pk_known_object"),
    )
    op.create_index("ix_known_object_instance_id_path_key", "known_object", ["instance_id", "path_key"])
    op.create_index("ix_known_object_seen_at", "known_object", ["seen_at"])
    op.create_table(
        "async_request",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("subscription_id", BIG_ID, nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("may_be_done", sa.Boolean(), nullable=False),
        sa.Column("answer_status", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name="fk_async_request_instance_id_instance"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name="fk_async_request_subscription_id_subscription"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_async_request"),
    )
    op.create_index("ix_async_request_due_at", "async_request", ["due_at"], **DUE)
    op.create_index("ix_async_request_instance_id", "async_request", ["instance_id"])
    op.create_index("ix_async_request_subscription_id", "async_request", ["subscription_id"])
    op.create_index("ix_async_request_ended_at", "async_request", ["ended_at"], **ENDED)
    op.create_table(
        "vendor_webhook",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("hooks", JSON, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_at", TIME, nullable=True),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("received_at", TIME, nullable=True),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("refused_at", TIME, nullable=True),
        sa.Column("hinted_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name="fk_vendor_webhook_instance_id_instance"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_vendor_webhook"),
        sa.UniqueConstraint("instance_id", name="uq_vendor_webhook_instance_id"),
    )
    op.create_index("ix_vendor_webhook_due_at", "vendor_webhook", ["due_at"], **DUE)
    op.create_index("ix_vendor_webhook_owner", "vendor_webhook", ["owner"], **OWNED)
    pruning = op.create_table(
        "pruning",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("began_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_pruning"),
    )
    op.bulk_insert(pruning, [{"id": 1, "due_at": datetime(2000, 1, 1, tzinfo=UTC), "place": 0}])
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.create_index("ix_delivery_notification_id", ["notification_id"])
        batch_op.drop_index("ix_delivery_subscription_id", **QUEUED)
        batch_op.create_index(
            "ix_delivery_subscription_id_notification_id", ["subscription_id", "notification_id"], **QUEUED
        )
    with op.batch_alter_table("event") as batch_op:
        batch_op.add_column(sa.Column("sequence", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("event_type", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("object_type", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("object_id", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("change", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("object_sequence", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("twin", sa.String(), nullable=True))
    with op.batch_alter_table("notification") as batch_op:
        batch_op.add_column(sa.Column("resource", sa.String(), nullable=False, server_default="events"))
        batch_op.add_column(sa.Column("via", sa.String(), nullable=False, server_default="polling"))
        batch_op.add_column(sa.Column("cursor", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("next_cursor", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("first_sequence", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("last_sequence", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("acknowledged_at", TIME, nullable=True))
        batch_op.create_index("ix_notification_instance_id_id", ["instance_id", "id"])
        batch_op.create_index("ix_notification_instance_id_id_async", ["instance_id", "id"], **OF_REQUESTS)
    _fill_events()
    with op.batch_alter_table("event") as batch_op:
        for column in ("sequence", "event_type", "object_type", "object_id", "change"):
            batch_op.alter_column(column, nullable=False)
        batch_op.create_index("ix_event_account_id_id_instance_id", ["account_id", "id", "instance_id"])
        batch_op.create_index("ix_event_instance_id_event_date", ["instance_id", "event_date"])
        batch_op.create_index("ix_event_instance_id_twin", ["instance_id", "twin"], **PAIRED)
        batch_op.create_unique_constraint("uq_event_instance_id_sequence", ["instance_id", "sequence"])
    with op.batch_alter_table("poller") as batch_op:
        batch_op.add_column(sa.Column("reading", JSON, nullable=True))
        batch_op.add_column(sa.Column("waits", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("hinted_at", TIME, nullable=True))
        batch_op.drop_index("ix_poller_due_at", **DUE)
        batch_op.create_index("ix_poller_waits_due_at", ["waits", "due_at"], **DUE)
    _let_box_say_when()
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.add_column(sa.Column("configured", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch_op.add_column(sa.Column("ordered", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index("ix_subscription_account_id_id", ["account_id", "id"])
        batch_op.drop_index("ix_subscription_instance_id")
        batch_op.create_index("ix_subscription_instance_id_topic", ["instance_id", "topic"])
        batch_op.create_index("ix_subscription_callback_id", ["callback_id"])
    _drop_defaults()


def _fill_events() -> None:
    """Numbers what is stored in its order, and copies from each row what has a column of its own now."""
    op.execute(
        "UPDATE event SET sequence = numbered.place, event_type = row->>'event_type', "
        "object_type = row->>'event_object_type', object_id = row->>'event_object_id', "
        "change = row->>'change' FROM (SELECT id AS numbered_id, row_number() OVER "
        "(PARTITION BY instance_id ORDER BY id) AS place FROM event) AS numbered "
        "WHERE numbered.numbered_id = event.id"
    )
    op.execute(
        "INSERT INTO event_sequence (instance_id, account_id, last) "
        "SELECT instance_id, max(account_id), max(sequence) FROM event GROUP BY instance_id"
    )
    op.execute(
        "UPDATE notification SET first_sequence = spans.first, last_sequence = spans.last FROM "
        "(SELECT notification_id, min(sequence) AS first, max(sequence) AS last FROM event "
        "GROUP BY notification_id) AS spans WHERE spans.notification_id = notification.id"
    )


def _let_box_say_when() -> None:
    """Who is connected to Box already waits for its word as those do that are connected later, unless his
    configuration asks for something else."""
    poller = sa.table("poller", *(sa.column(name) for name in ("id", "instance_id", "resource", "waits")))
    instance = sa.table(
        "instance", sa.column("id"), sa.column("element_key"), sa.column("configuration", JSON)
    )
    streams = (
        sa.select(poller.c.id, instance.c.configuration)
        .join(instance, instance.c.id == poller.c.instance_id)
        .where(instance.c.element_key == "box", poller.c.resource == "events")
    )
    bind = op.get_bind()
    waiting = [{"waiting": row.id} for row in bind.execute(streams).all() if _may_wait(row.configuration)]
    if waiting:
        waits = sa.update(poller).where(poller.c.id == sa.bindparam("waiting"))
        bind.execute(waits.values(waits=sa.true()), waiting)


def _may_wait(configuration: dict[str, str | None]) -> bool:
    def said(key: str) -> str:
        return (configuration.get(key) or "").strip().lower()

    of_user = not said("box.events.stream").startswith("admin")
    return (
        of_user and said("event.vendor.type") in {"", "polling"} and said("event.poller.long.poll") != "false"
    )


def _drop_defaults() -> None:
    """The defaults were for the rows that were there; the application always writes these itself."""
    for table, columns in DEFAULTED.items():
        with op.batch_alter_table(table) as batch_op:
            for column in columns:
                batch_op.alter_column(column, server_default=None)


def downgrade() -> None:
    """Takes away what the older version would misread: pollers of resources that are no streams, receivers
    beside the configured one with their deliveries, and tokens of deleted instances. What waits for an
    earlier delivery of its objects becomes due: nobody knows of the order any more.

    Two things stay that no migration can mend. A subscription's sealed secrets have a form that the older
    version takes for one signature key, until its instance's configuration names the key anew; and vendors
    go on calling for webhooks that nobody ends.
    """
    _take_away()
    op.execute(
        "UPDATE delivery SET due_at = updated_at WHERE status IN ('created', 'retry') AND due_at IS NULL"
    )
    op.execute("UPDATE delivery SET status = 'delivered' WHERE status = 'notified'")
    op.execute(
        "UPDATE callback SET due_at = (SELECT min(due_at) FROM delivery "
        "WHERE delivery.callback_id = callback.id AND delivery.due_at IS NOT NULL)"
    )
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.drop_index("ix_subscription_callback_id")
        batch_op.drop_index("ix_subscription_instance_id_topic")
        batch_op.create_index("ix_subscription_instance_id", ["instance_id"])
        batch_op.drop_index("ix_subscription_account_id_id")
        for column in ("ordered", "configured"):
            batch_op.drop_column(column)
    with op.batch_alter_table("poller") as batch_op:
        batch_op.drop_index("ix_poller_waits_due_at")
        for column in ("hinted_at", "waits", "reading"):
            batch_op.drop_column(column)
        batch_op.create_index("ix_poller_due_at", ["due_at"], **DUE)
    with op.batch_alter_table("notification") as batch_op:
        batch_op.drop_index("ix_notification_instance_id_id_async", **OF_REQUESTS)
        batch_op.drop_index("ix_notification_instance_id_id")
        for column in (
            "acknowledged_at", "last_sequence", "first_sequence", "next_cursor", "cursor", "via", "resource",
        ):  # fmt: skip
            batch_op.drop_column(column)
    with op.batch_alter_table("event") as batch_op:
        batch_op.drop_constraint("uq_event_instance_id_sequence", type_="unique")
        batch_op.drop_index("ix_event_account_id_id_instance_id")
        batch_op.drop_index("ix_event_instance_id_event_date")
        batch_op.drop_index("ix_event_instance_id_twin", **PAIRED)
        for column in (
            "twin", "object_sequence", "change", "object_id", "object_type", "event_type", "sequence",
        ):  # fmt: skip
            batch_op.drop_column(column)
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.drop_index("ix_delivery_notification_id")
        batch_op.drop_index("ix_delivery_subscription_id_notification_id", **QUEUED)
        batch_op.create_index("ix_delivery_subscription_id", ["subscription_id"], **QUEUED)
    for table in (
        "async_request", "delivery_object", "attempt", "known_object", "event_sequence", "vendor_webhook",
        "pruning",
    ):  # fmt: skip
        op.drop_table(table)


def _take_away() -> None:
    added = "(SELECT id FROM subscription WHERE NOT configured)"
    op.execute("DELETE FROM async_request")
    op.execute(f"DELETE FROM delivery WHERE subscription_id IN {added}")  # noqa: S608
    op.execute("DELETE FROM subscription WHERE NOT configured")
    op.execute("DELETE FROM poller WHERE CAST(reading AS TEXT) <> 'null'")  # as None is written, or NULL
    op.execute(
        "DELETE FROM credential WHERE instance_id IN (SELECT id FROM instance WHERE deleted_at IS NOT NULL)"
    )
