"""Instances and their sealed credentials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import Account, Credential, FileLink, Instance, Poller, User, VendorWebhook, table

_instances, _credentials = table(Instance), table(Credential)
_pollers, _accounts, _links = table(Poller), table(Account), table(FileLink)
_users, _webhooks = table(User), table(VendorWebhook)

_MOVE_SEQUENCE = text(
    "SELECT setval('instance_id_seq', greatest(:id, (SELECT last_value FROM instance_id_seq)))"
)


@dataclass(frozen=True)
class Wanted:
    """Which instances are looked for: those of an account, or of all accounts of an organization; that
    have all of the tags, of which one may be several, separated by commas; whose name or element key has
    `search` in it."""

    account_id: int | None
    organization_id: int
    tags: Sequence[str] = ()
    search: str = ""
    element_key: str | None = None


async def insert_instance(connection: AsyncConnection, **values: Any) -> int:
    """Writes an instance and answers its id. One that brings an id of its own keeps it; ids that the
    database gives later are above it."""
    done = await connection.execute(insert(_instances).values(**values))
    if "id" in values and connection.dialect.name == "postgresql":
        await connection.execute(_MOVE_SEQUENCE, {"id": values["id"]})
    return int(done.inserted_primary_key[0])  # type: ignore[index]


async def insert_credential(
    connection: AsyncConnection, *, instance_id: int, account_id: int, sealed: bytes
) -> None:
    await connection.execute(
        insert(_credentials).values(instance_id=instance_id, account_id=account_id, sealed=sealed, version=1)
    )


async def save_credential(
    connection: AsyncConnection,
    instance_id: int,
    *,
    version: int,
    sealed: bytes,
    free_at: datetime | None = None,
) -> bool:
    """Replaces version `version` of the secrets by the next one, and ends whoever's right to refresh it;
    with `free_at`, only if nobody has that right then. False when another process was first."""
    done = await connection.execute(
        update(_credentials)
        .where(
            _credentials.c.instance_id == instance_id,
            _credentials.c.version == version,
            *([_nobody_refreshes(free_at)] if free_at else []),
        )
        .values(sealed=sealed, version=version + 1, leased_until=None, fence=None)
    )
    return done.rowcount == 1


async def claim_refresh(
    connection: AsyncConnection, instance_id: int, *, version: int, fence: int, now: datetime, until: datetime
) -> bool:
    """Takes the right to refresh version `version` of the secrets until `until`. False while somebody else
    has it, or when there is a newer version already."""
    done = await connection.execute(
        update(_credentials)
        .where(
            _credentials.c.instance_id == instance_id,
            _credentials.c.version == version,
            _nobody_refreshes(now),
        )
        .values(leased_until=until, fence=fence)
    )
    return done.rowcount == 1


async def release_refresh(connection: AsyncConnection, instance_id: int, *, fence: int) -> bool:
    """Gives the right back. False when it is no longer this one: somebody else has refreshed or tries to."""
    done = await connection.execute(
        update(_credentials)
        .where(_credentials.c.instance_id == instance_id, _credentials.c.fence == fence)
        .values(leased_until=None, fence=None)
    )
    return done.rowcount == 1


async def credentials(connection: AsyncConnection, instance_ids: Sequence[int]) -> dict[int, Credential]:
    """The sealed secrets of these instances; a deleted one has none, or not for long."""
    rows = await connection.execute(select(_credentials).where(_credentials.c.instance_id.in_(instance_ids)))
    return {row["instance_id"]: Credential(**row) for row in rows.mappings()}


async def by_id(connection: AsyncConnection, instance_id: int, account_id: int) -> Instance | None:
    """The instance if it exists in this account and is not deleted."""
    return await _one(connection, _instances.c.id == instance_id, _instances.c.account_id == account_id)


async def by_token_hash(connection: AsyncConnection, token_hash: str) -> Instance | None:
    """The instance whose Element token has this hash; None after its deletion."""
    return await _one(connection, _instances.c.token_hash == token_hash)


async def account_of_token(connection: AsyncConnection, token_hash: str) -> int | None:
    """The account of an Element token, also after the deletion of its instance."""
    statement = select(_instances.c.account_id).where(_instances.c.token_hash == token_hash)
    found: int | None = await connection.scalar(statement)
    return found


async def is_taken(connection: AsyncConnection, instance_id: int) -> bool:
    """Whether there is or was an instance with this id, in whatever account."""
    return bool(await connection.scalar(select(exists().where(_instances.c.id == instance_id))))


async def for_worker(connection: AsyncConnection, instance_id: int) -> tuple[Instance, int] | None:
    """The instance whatever its account, and its organization's id, for a worker that holds its poller."""
    statement = (
        select(_instances, _accounts.c.organization_id)
        .join(_accounts, _accounts.c.id == _instances.c.account_id)
        .where(_instances.c.id == instance_id, _instances.c.deleted_at.is_(None))
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        return None
    values = dict(row)
    organization_id = values.pop("organization_id")
    return Instance(**values), organization_id


async def find(
    connection: AsyncConnection, wanted: Wanted, *, after_id: int = 0, offset: int = 0, limit: int
) -> list[Instance]:
    """At most `limit` of the wanted instances with an id above `after_id`, by id, from number `offset` on."""
    conditions = _conditions(wanted, connection.dialect.name)
    statement = _living().where(*conditions, _instances.c.id > after_id)
    rows = await connection.execute(statement.order_by(_instances.c.id).offset(offset).limit(limit))
    return [Instance(**row) for row in rows.mappings()]


async def count(connection: AsyncConnection, wanted: Wanted) -> dict[str, int]:
    """How many of the wanted instances there are, by element key."""
    conditions = _conditions(wanted, connection.dialect.name)
    statement = select(_instances.c.element_key, func.count()).group_by(_instances.c.element_key)
    rows = await connection.execute(statement.where(_instances.c.deleted_at.is_(None), *conditions))
    return {key: number for key, number in rows}  # noqa: C416


async def owners(connection: AsyncConnection, user_ids: Sequence[int]) -> dict[int, User]:
    """The users who connected instances, by their ids."""
    rows = await connection.execute(select(_users).where(_users.c.id.in_(set(user_ids))))
    return {row["id"]: User(**row) for row in rows.mappings()}


async def change_instance(
    connection: AsyncConnection, instance_id: int, *, seen: datetime, **values: Any
) -> bool:
    """Writes values if the instance is as it was at `seen`, its time of change. False when somebody else was
    first, or when it is gone."""
    done = await connection.execute(
        update(_instances)
        .where(
            _instances.c.id == instance_id,
            _instances.c.updated_at == seen,
            _instances.c.deleted_at.is_(None),
        )
        .values(**values)
    )
    return done.rowcount == 1


async def update_instance(connection: AsyncConnection, instance_id: int, **values: Any) -> None:
    await connection.execute(update(_instances).where(_instances.c.id == instance_id).values(**values))


async def revive(connection: AsyncConnection, instance_id: int, *, now: datetime) -> Instance | None:
    """Lets an instance be valid again whose grant was taken for dead. None where it is valid, or gone."""
    done = await connection.execute(
        update(_instances)
        .where(
            _instances.c.id == instance_id,
            _instances.c.valid.is_(False),
            _instances.c.deleted_at.is_(None),
        )
        .values(valid=True, updated_at=now)
        .returning(_instances)
    )
    row = done.mappings().first()
    return Instance(**row) if row else None


async def remove(connection: AsyncConnection, instance_id: int, *, now: datetime) -> bool:
    """Ends an instance: its secrets, its links and its polling are gone, its vendor's webhook is due to be
    ended, what it reported stays and is delivered. False when it was gone already."""
    return bool(await _remove(connection, _instances.c.id == instance_id, now))


async def remove_of_account(connection: AsyncConnection, account_id: int, *, now: datetime) -> None:
    """Ends all instances of an account, as `remove` does one."""
    await _remove(connection, _instances.c.account_id == account_id, now)


async def _remove(connection: AsyncConnection, which: ColumnElement[bool], now: datetime) -> list[int]:
    """The instances are marked first: who changes one of them meanwhile waits, and finds it gone. The secrets
    of one that its vendor calls for stay until the vendor has been told of its end."""
    living = (which, _instances.c.deleted_at.is_(None))
    ended = update(_instances).where(*living).values(deleted_at=now, updated_at=now)
    ids = list((await connection.execute(ended.returning(_instances.c.id))).scalars())
    theirs = select(_instances.c.id).where(which)
    called = exists(select(_webhooks.c.id).where(_webhooks.c.instance_id == _credentials.c.instance_id))
    in_order = select(_pollers.c.id).where(_pollers.c.instance_id.in_(theirs)).order_by(_pollers.c.id)
    for rows, more in ((_credentials, [~called]), (_pollers, []), (_links, [])):
        if rows is _pollers:
            await connection.execute(in_order.with_for_update())
        await connection.execute(delete(rows).where(rows.c.instance_id.in_(theirs), *more))
    await connection.execute(
        update(_webhooks).where(_webhooks.c.instance_id.in_(theirs)).values(due_at=now, failures=0)
    )
    return ids


async def hold(connection: AsyncConnection, instance_id: int) -> bool:
    """Keeps everybody else from changing an instance until the end of the transaction. False when it is
    gone."""
    living = _living().where(_instances.c.id == instance_id).with_for_update(key_share=True)
    return (await connection.execute(living)).first() is not None


async def of_account(connection: AsyncConnection, account_id: int) -> list[Instance]:
    """Every instance of an account."""
    rows = await connection.execute(_living().where(_instances.c.account_id == account_id))
    return [Instance(**row) for row in rows.mappings()]


def _conditions(wanted: Wanted, dialect: str) -> Iterator[ColumnElement[bool]]:
    of_organization = _accounts.c.organization_id == wanted.organization_id
    yield _instances.c.account_id.in_(select(_accounts.c.id).where(of_organization))
    if wanted.account_id is not None:
        yield _instances.c.account_id == wanted.account_id
    if wanted.element_key is not None:
        yield _instances.c.element_key == wanted.element_key
    if wanted.search:
        part = wanted.search.lower()
        columns = (_instances.c.name, _instances.c.element_key)
        yield or_(*(func.lower(column).contains(part, autoescape=True) for column in columns))
    for tag in wanted.tags:
        whole = _has_tag(tag, dialect)
        parts = [_has_tag(part, dialect) for part in tag.split(",") if part]
        yield or_(whole, and_(*parts)) if len(parts) > 1 else whole


def _has_tag(tag: str, dialect: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return cast(_instances.c.tags, JSONB).contains([tag])
    each = func.json_each(_instances.c.tags).table_valued("value")
    return exists(select(each.c.value).where(each.c.value == tag))


def _nobody_refreshes(now: datetime) -> ColumnElement[bool]:
    return or_(_credentials.c.leased_until.is_(None), _credentials.c.leased_until <= now)


def _living() -> Select[Any]:
    return select(_instances).where(_instances.c.deleted_at.is_(None))


async def _one(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> Instance | None:
    row = (await connection.execute(_living().where(*conditions))).mappings().first()
    return Instance(**row) if row else None
