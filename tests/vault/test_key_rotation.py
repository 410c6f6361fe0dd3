"""Keys are replaced while the gateway runs; one that is missing is said at the start."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gateway as gateways
import httpx
import pytest
from alembic import command
from conftest import ENCRYPTION_KEY
from gateway import Gateway
from pydantic import SecretStr
from sqlalchemy import Connection, LargeBinary, select, update

from app.cli import start
from app.delivery import url_logins
from app.errors import BadRequest, SettingsError
from app.ingest import vendor_webhooks
from app.runtime import open_sealer
from app.settings import Settings
from app.store import encryption_keys, instances, migrations, outbox
from app.store import vendor_webhooks as stored_webhooks
from app.store.encryption_keys import SEALED_TABLES, SealedTable
from app.store.engine import Database
from app.store.tables import Credential, FileLink, metadata, table
from app.vault import key_rotation, lost_key
from app.vault.credentials import Credentials, Secrets
from app.vault.key_rotation import Rotation
from app.vault.sealing import Sealer, new_key, parse_keys

NOW = datetime(2026, 2, 1, tzinfo=UTC)
OLD, NEW, FOREIGN = (
    parse_keys(key)[0] for key in (ENCRYPTION_KEY, "bmV3" * 10 + "bmU=", "b2xk" * 10 + "b2w=")
)
OF_OLD, OF_NEW, OF_BOTH = Sealer([OLD]), Sealer([NEW]), Sealer([NEW, OLD])


@pytest.fixture
async def house(
    tmp_path: Path, sandbox: httpx.Client, sandbox_url: str, database: Database, database_url: str
) -> AsyncIterator[Gateway]:
    """A gateway on each kind of database, whose rows the old key has sealed, a row in each table."""
    settings = gateways.settings_for(
        tmp_path,
        sandbox_url,
        database_url=database_url,
        encryption_keys=ENCRYPTION_KEY,
        public_url="http://gateway",
    )
    async with gateways.running(settings, sandbox_url) as running:
        await key_rotation.begin(database, OF_OLD, now=NOW)
        yield running


async def filled(house: Gateway) -> dict[str, Any]:
    """An instance with a secret of each kind."""
    made = await house.connect(
        **{
            "event.notification.enabled": "true",
            "event.vendor.type": "webhook",
            "event.notification.callback.url": "http://127.0.0.1:9999/changes",
            "event.notification.signature.key": "top-secret",
        }
    )
    hub = house.hub(made["token"])
    file = {"file": ("a.txt", b"content")}
    done = await house.http.post("/files", params={"path": "/Shared/a.txt"}, files=file, headers=hub)
    assert done.status_code == 200, done.text
    link = await house.http.get("/files/links", params={"path": "/Shared/a.txt"}, headers=hub)
    assert link.status_code == 200, link.text
    return made


async def rotated(database: Database, sealer: Sealer = OF_BOTH) -> tuple[Rotation, list[str]]:
    """A rotation after a start with these keys, and what it reported."""
    said: list[str] = []
    async with database.write() as connection:
        await encryption_keys.begin(connection, sealer.newest, now=NOW)
    return await key_rotation.rotate(database, sealer, now=NOW, report=said.append), said


def credentials(house: Gateway, sealer: Sealer) -> Credentials:
    """What a process has that was started with these keys."""
    runtime = house.runtime
    return Credentials(runtime.database, sealer, runtime.vendors, runtime.registry, runtime.clock, {})


async def states(database: Database) -> dict[str, bool]:
    """Every key that the database knows, and whether it needs it."""
    async with database.read() as connection:
        return {key.id: key.retired_at is None for key in await encryption_keys.every(connection)}


async def put(database: Database, sealed: bytes, instance_id: int) -> None:
    rows = table(Credential)
    async with database.write() as connection:
        await connection.execute(update(rows).where(rows.c.instance_id == instance_id).values(sealed=sealed))


def test_every_sealed_column_is_rotated() -> None:
    columns = {
        (rows.name, column.name)
        for rows in metadata.tables.values()
        for column in rows.columns
        if isinstance(column.type, LargeBinary) and column.name == "sealed"
    }
    assert columns == {(sealed.name, "sealed") for sealed in SEALED_TABLES}


async def test_a_rotation_leaves_nothing_to_the_old_key_and_retires_it(
    house: Gateway, database: Database
) -> None:
    made = await filled(house)
    done, said = await rotated(database)
    assert [line.split(":")[0] for line in said] == [sealed.name for sealed in SEALED_TABLES]
    assert all("1 sealed anew" in line for line in said)
    assert (done.removable, dict(done.needed)) == ([OF_OLD.newest], {})
    assert await states(database) == {OF_OLD.newest: False, OF_NEW.newest: True}
    settings = house.runtime.settings.model_copy(update={"encryption_keys": None})
    new = replace(house.runtime, sealer=OF_NEW, credentials=credentials(house, OF_NEW), settings=settings)
    await opens_everything(house, new, made)


async def opens_everything(house: Gateway, runtime: Any, made: dict[str, Any]) -> None:
    """By the ordinary ways, in a process that has the new key alone."""
    assert (await runtime.credentials.open(made["id"])).token == made["token"]
    async with runtime.database.read() as connection:
        (subscription,) = await outbox.subscriptions_of(connection, made["id"])
        webhook = (await stored_webhooks.of_instances(connection, [made["id"]]))[made["id"]]
        link = (await connection.execute(select(table(FileLink)))).mappings().one()
    assert url_logins.carried_by(runtime, subscription).keys == ("top-secret",)
    assert vendor_webhooks.secret(runtime, webhook)
    assert runtime.sealer.open(link["sealed"], f"link/{link['id']}")


async def test_a_change_during_a_rotation_is_not_overwritten(
    house: Gateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of a batch and its writing, another process refreshes; it still has the old key
    as its first one."""
    made = await filled(house)
    other = credentials(house, OF_OLD)
    page = encryption_keys.page
    changes = iter(range(1))

    async def beaten(connection: Any, sealed: SealedTable, **how: Any) -> Any:
        rows = await page(connection, sealed, **how)
        if sealed.name == "credential" and rows and next(changes, None) is not None:
            used = await other.open(made["id"])
            newer = Secrets(used.token, {**used.values, "oauth.user.token": "newer"})
            async with database.write() as second:
                assert await instances.save_credential(
                    second, made["id"], version=used.version, sealed=other.seal(made["id"], newer)
                )
        return rows

    monkeypatch.setattr(encryption_keys, "page", beaten)
    done, said = await rotated(database)
    assert "credential: 1 looked at, 0 sealed anew, 1 changed by others meanwhile" in said
    assert dict(done.needed) == {}
    opened = await credentials(house, OF_NEW).open(made["id"])
    assert (opened.values["oauth.user.token"], opened.version) == ("newer", 2)


async def test_refreshes_and_a_rotation_at_the_same_time_lose_nothing(
    house: Gateway, database: Database
) -> None:
    made = [await house.connect() for _ in range(6)]
    process = credentials(house, OF_BOTH)
    stop = asyncio.Event()

    async def keep_changing(instance_id: int) -> int:
        number = 0
        while not stop.is_set():
            used = await process.open(instance_id)
            number += 1
            newer = Secrets(used.token, {**used.values, "oauth.user.token": f"token {number}"})
            async with database.write() as connection:
                assert await instances.save_credential(
                    connection, instance_id, version=used.version, sealed=process.seal(instance_id, newer)
                )
            await asyncio.sleep(0)
        return number

    changing = [asyncio.create_task(keep_changing(item["id"])) for item in made[:3]]
    done, _ = await rotated(database)
    stop.set()
    last = await asyncio.gather(*changing)
    assert dict(done.needed) == {}
    for item, number in zip(made, [*last, 0, 0, 0], strict=True):
        opened = await credentials(house, OF_NEW).open(item["id"])
        assert opened.token == item["token"]
        assert number == 0 or opened.values["oauth.user.token"] == f"token {number}"


async def test_an_interrupted_rotation_goes_on_where_it_is_run_again(
    house: Gateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await house.connect()
    monkeypatch.setattr(key_rotation, "_BATCH", 1)
    write, left = key_rotation._write, iter([None])

    async def interrupted(*args: Any) -> int:
        if next(left, 0) == 0:
            raise KeyboardInterrupt
        return await write(*args)

    with monkeypatch.context() as patched:
        patched.setattr(key_rotation, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await rotated(database)
    assert (await states(database))[OF_OLD.newest]
    done, said = await rotated(database)
    assert "credential: 3 looked at, 2 sealed anew" in said
    assert done.removable == [OF_OLD.newest]


async def test_a_row_of_an_unknown_key_is_named_and_nothing_else_is_stopped(
    house: Gateway, database: Database
) -> None:
    lost, changed, healthy = [(await house.connect())["id"] for _ in range(3)]
    foreign = Sealer([FOREIGN])
    await put(database, foreign.seal(b"{}", f"credential/{lost}"), lost)
    await put(database, OF_OLD.seal(b"{}", "credential/0"), changed)
    done, said = await rotated(database)
    assert "credential: 3 looked at, 1 sealed anew, 2 cannot be opened" in said
    assert any(f"lacks the key {foreign.newest} that sealed credential/{lost}" in line for line in said)
    assert any(f"of credential/{changed} were changed or belong to another row" in line for line in said)
    assert dict(done.needed) == {foreign.newest: 1, OF_OLD.newest: 1}
    assert done.removable == []
    assert (await credentials(house, OF_NEW).open(healthy)).token


async def test_a_process_that_still_seals_with_the_old_key_keeps_it_from_being_retired(
    house: Gateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_anew = key_rotation._seal_anew

    async def late(database: Database, sealer: Sealer, sealed: SealedTable, report: Any) -> Any:
        count = await seal_anew(database, sealer, sealed, report)
        if sealed is SEALED_TABLES[-1]:
            await house.connect()
        return count

    monkeypatch.setattr(key_rotation, "_seal_anew", late)
    done, _ = await rotated(database)
    assert dict(done.needed) == {OF_OLD.newest: 1}
    assert (await states(database))[OF_OLD.newest]


async def test_nothing_is_sealed_with_a_key_that_no_process_has_begun_with(database: Database) -> None:
    with pytest.raises(SettingsError, match="restart all of them"):
        await key_rotation.rotate(database, OF_BOTH, now=NOW, report=print)


async def test_a_start_without_a_key_that_rows_need_is_refused(database: Database) -> None:
    await key_rotation.begin(database, OF_OLD, now=NOW)
    with pytest.raises(SettingsError, match=f"sealed with the key {OF_OLD.newest}, which is not in"):
        await key_rotation.check(database, OF_NEW)
    await key_rotation.check(database, OF_BOTH)
    await rotated(database)
    await key_rotation.check(database, OF_NEW)
    with pytest.raises(SettingsError, match=OF_NEW.newest):
        await key_rotation.check(database, OF_OLD)


async def test_a_start_without_a_retired_key_that_was_sealed_with_again_is_refused(
    house: Gateway, database: Database
) -> None:
    """By a process that was not restarted with the new key as its first one."""
    await rotated(database)
    await key_rotation.check(database, OF_NEW)
    made = await house.connect()
    with pytest.raises(SettingsError, match=f"sealed with the key {OF_OLD.newest}, which is not in"):
        await key_rotation.check(database, OF_NEW)
    await rotated(database)
    await key_rotation.check(database, OF_NEW)
    assert (await credentials(house, OF_NEW).open(made["id"])).token == made["token"]


@pytest.mark.parametrize(("seals", "noted"), [(False, {}), (True, {OF_NEW.newest: True})])
async def test_only_who_seals_has_its_key_noted(
    tmp_path: Path, database: Database, database_url: str, seals: bool, noted: dict[str, bool]
) -> None:
    key = base64.b64encode(NEW).decode()
    settings = gateways.settings_for(
        tmp_path, "http://sandbox", database_url=database_url, encryption_keys=key
    )
    await start.ready_schema(settings, seals=seals)
    assert await states(database) == noted


async def test_an_upgrade_finds_out_which_keys_are_needed(house: Gateway, database: Database) -> None:
    await house.connect()

    def down(connection: Connection) -> None:
        config = migrations.config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")

    async with database.restructure() as connection:
        await connection.run_sync(down)
    await migrations.upgrade(database)
    assert await states(database) == {OF_OLD.newest: True}


async def test_a_retired_key_that_seals_again_is_in_use_again(database: Database) -> None:
    await key_rotation.begin(database, OF_OLD, now=NOW)
    await rotated(database)
    await key_rotation.begin(database, Sealer([OLD, NEW]), now=NOW)
    assert await states(database) == {OF_OLD.newest: True, OF_NEW.newest: True}


async def test_the_list_tells_what_each_key_is_for(house: Gateway, database: Database) -> None:
    await house.connect()
    found = {state.id: state for state in await key_rotation.states(database, OF_BOTH)}
    assert found[OF_NEW.newest].position == 1
    assert found[OF_NEW.newest].first_used_at is None
    assert (found[OF_OLD.newest].position, found[OF_OLD.newest].rows) == (2, 1)


async def test_what_a_lost_key_has_sealed_can_be_let_go_and_the_account_connected_again(
    house: Gateway, database: Database
) -> None:
    made = await filled(house)
    for refused in (OF_OLD.newest, Sealer([FOREIGN]).newest):
        with pytest.raises(BadRequest, match="is not a key that this database knows"):
            await lost_key.forget(database, OF_OLD, refused, now=NOW, report=print)
    said: list[str] = []
    await lost_key.forget(database, OF_NEW, OF_OLD.newest, now=NOW, report=said.append)
    assert said == [f"{sealed.name}: 1 let go" for sealed in SEALED_TABLES]
    assert await states(database) == {OF_OLD.newest: False, OF_NEW.newest: True}
    await key_rotation.check(database, OF_NEW)
    settings = house.runtime.settings.model_copy(
        update={"encryption_keys": SecretStr(base64.b64encode(NEW).decode())}
    )
    async with gateways.running(settings, house.sandbox_url) as again:
        again.secrets = house.secrets
        found = (await again.http.get(f"/instances/{made['id']}", headers=again.platform)).json()
        assert found["valid"] is False
        order = await again.order()
        changed = await again.http.patch(f"/instances/{made['id']}", json=order, headers=again.platform)
        assert changed.status_code == 200, changed.text
        assert changed.json()["valid"] is True
        answer = await again.http.get("/ping", headers=again.hub(made["token"]))
        assert answer.status_code == 200, answer.text


# The key file


async def test_a_key_file_that_is_gone_from_beside_secrets_is_not_made_anew(
    gateway: Gateway, tmp_path: Path
) -> None:
    settings: Settings = gateway.runtime.settings
    await gateway.connect()
    key = settings.key_file.read_text()
    settings.key_file.unlink()
    with pytest.raises(SettingsError, match=r"gateway.key is gone.*put it back") as caught:
        open_sealer(settings)
    assert key.strip() not in caught.value.message
    assert not settings.key_file.exists()
    settings.key_file.write_text(f"{new_key()}\n{key}")
    assert open_sealer(settings).key_ids[1:] == gateway.runtime.sealer.key_ids


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    settings = gateways.settings_for(tmp_path, "http://sandbox")
    Path(str(settings.database.database)).write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError, match="cannot be read: file is not a database"):
        open_sealer(settings)
    assert not settings.key_file.exists()


def test_an_empty_database_gets_a_key_file_again(tmp_path: Path) -> None:
    settings = gateways.settings_for(tmp_path, "http://sandbox")
    assert len(open_sealer(settings).key_ids) == 1
