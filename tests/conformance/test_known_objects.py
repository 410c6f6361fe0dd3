"""The memory of objects in both databases: page by page it knows what one long page would have told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.hubs.documents import Change
from app.ingest import intake, memory
from app.ingest.events import Origin
from app.ingest.recollection import Recollection
from app.store import events, known_objects
from app.store.engine import Database
from app.store.known_objects import Known
from app.store.tables import Event, Instance, KnownObject, Via, table

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
POLLING = Origin(Via.POLLING, "events", 20)
WEBHOOK = Origin(Via.WEBHOOK, "events", 20, raw={"trigger": "x"})
TYPES = {"create": "CREATED", "restore": "CREATED", "delete": "DELETED"}


def instance(number: int = 31, configuration: dict[str, str | None] | None = None) -> Instance:
    return Instance(
        id=number,
        account_id=2,
        user_id=3,
        element_key="egnyte",
        name="n",
        tags=[],
        configuration=configuration or {},
        external_authentication="none",
        token_hash="hash",
        valid=True,
        disabled=False,
        created_at=NOW,
        updated_at=NOW,
        deleted_at=None,
    )


BOTH_WAYS = instance(configuration={"event.vendor.type": "webhook"})


def change(number: int, verb: str, object_id: str, path: str | None = None, **more: Any) -> Change:
    values: dict[str, Any] = {
        "event_id": str(number),
        "event_type": TYPES.get(verb, "UPDATED"),
        "object_type": "folder" if object_id.startswith("d") else "file",
        "object_id": object_id,
        "date": NOW + timedelta(seconds=number),
        "change": verb,
        "raw": {},
        "path": path,
    }
    return Change(**values | more)


async def interpreted(database: Database, *changes: Change, number: int = 31) -> list[Change]:
    async with database.write() as connection:
        return await memory.interpret(connection, instance(number), changes, POLLING, now=NOW)


async def taken(
    database: Database, *changes: Change, origin: Origin = POLLING, where: Instance = BOTH_WAYS
) -> int:
    async with database.write() as connection:
        return await intake.take_in(connection, where, 1, changes, origin, now=NOW)


async def known(database: Database, number: int = 31) -> dict[str, tuple[str | None, datetime | None]]:
    rows = table(KnownObject)
    async with database.read() as connection:
        found = await connection.execute(select(rows).where(rows.c.instance_id == number))
        for row in (all_rows := found.all()):
            assert row.path_key == (known_objects.path_key(row.path) if row.path is not None else None)
        return {row.object_id: (row.path, row.deleted_at) for row in all_rows}


def history(chance: random.Random, length: int) -> list[Change]:
    """Events of a small account, sensible or not; folders move, fall and rise with what is in them."""
    ids = ["d1", "d2", "d3", "f1", "f2", "f3", "f4"]
    places = ["/A", "/a/B", "/c", "/ä/ß", "/c/_%"]
    where: dict[str, str] = {}
    told = []
    for number in range(length):
        one = chance.choice(ids)
        verb = chance.choice(["create", "move", "delete", "restore", "comment"])
        path = f"{chance.choice(places)}/{one}" if one.startswith("f") else chance.choice(places)
        previous = where.get(one) if verb == "move" else None
        told.append(change(number, verb, one, path, previous_path=previous))
        where[one] = path
    return told


async def test_page_by_page_is_known_what_one_page_would_have_told(database: Database) -> None:
    for round_number in range(1, 25):
        chance = random.Random(round_number)
        told = history(chance, 40)
        whole = Recollection([], NOW)
        meant = [item for one in told if (item := whole.meaning(one)) is not None]
        found: list[Change] = []
        rest = told
        while rest:
            size = chance.randint(1, 12)
            found += await interpreted(database, *rest[:size], number=round_number)
            rest = rest[size:]
        assert found == meant, round_number
        expected = {item.object_id: (item.path, item.deleted_at) for item in whole.touched()}
        assert await known(database, round_number) == expected, round_number


async def test_what_lies_below_a_folder_follows_it(database: Database) -> None:
    await interpreted(
        database,
        change(1, "create", "d", "/Straße"),
        change(2, "create", "f1", "/straße/x"),
        change(3, "create", "f2", "/Straße0"),
        change(4, "create", "f3", "/Straße/sub/y"),
    )
    await interpreted(database, change(5, "move", "d", "/b", previous_path="/Straße"), number=99)
    assert (await known(database))["f1"] == ("/straße/x", None)  # another instance's folders are its own
    await interpreted(database, change(6, "move", "d", "/Ümlaut/b", previous_path="/Straße"))
    found = await known(database)
    assert [found[key][0] for key in ("d", "f1", "f2", "f3")] == [
        "/Ümlaut/b",
        "/Ümlaut/b/x",
        "/Straße0",
        "/Ümlaut/b/sub/y",
    ]
    await interpreted(database, change(7, "delete", "d"))
    fallen = await known(database)
    assert fallen["f1"][1] == fallen["f3"][1] == fallen["d"][1] is not None
    assert fallen["f2"][1] is None
    await interpreted(database, change(8, "restore", "d", "/back"))
    assert (await known(database))["f3"] == ("/back/sub/y", None)


async def test_a_change_by_path_is_found_below_a_folder_that_moved_in_the_same_page(
    database: Database,
) -> None:
    await interpreted(database, change(1, "create", "f1", "/a/x"))
    page = await interpreted(
        database,
        change(2, "move", "d1", "/b", previous_path="/A"),
        change(3, "move", "d1", "/c/d", previous_path="/b"),
        change(4, "delete", "/c/d/x", "/c/d/x", by_path=True, object_type="file"),
    )
    assert page[2].object_id == "f1"


async def test_one_statement_recalls_a_page(database: Database) -> None:
    rows = [Known("file", str(number), f"/{number}", seen_at=NOW) for number in range(700)]
    async with database.write() as connection:
        await known_objects.remember(connection, 1, 2, following=[], known=rows)
        await known_objects.remember(connection, 1, 2, following=[], known=rows)  # the same ones again
    async with database.read() as connection:
        keys = {f"file:{number}" for number in range(600)}
        found = await known_objects.recall(connection, 1, keys=keys, paths={"/650", "/9999"})
        none = await known_objects.recall(connection, 1, keys=[], paths=[])
    assert {item.object_id for item in found} == {*map(str, range(600)), "650"}
    assert none == []


async def test_paths_that_are_too_long_for_an_index_are_stored(database: Database) -> None:
    path = "/" + "/".join(["ä" * 200] * 30)
    await interpreted(database, change(1, "create", "f1", path))
    deleted = change(2, "delete", path, path, by_path=True, object_type="file")
    assert (await interpreted(database, deleted))[0].object_id == "f1"


async def test_the_files_of_a_folder_follow_it_in_any_spelling(database: Database) -> None:
    await interpreted(database, change(1, "create", "f1", "/Straße/Ünd/x.txt"))
    await interpreted(database, change(2, "create", "f2", "/Strasse/y.txt"))
    await interpreted(database, change(3, "move", "d2", "/c", previous_path="/STRASSE"))
    await interpreted(database, change(4, "move", "d1", "/b", previous_path="/STRAßE/üND"))
    assert {name: path for name, (path, _) in (await known(database)).items() if name.startswith("f")} == {
        "f1": "/b/x.txt",
        "f2": "/c/y.txt",
    }


async def test_a_new_file_has_not_the_id_of_one_that_an_earlier_page_moved_away(database: Database) -> None:
    made = change(1, "create", "/a", "/a", by_path=True, object_type="file")
    moved = change(2, "move", "/b", "/b", previous_path="/a", by_path=True, object_type="file")
    pages = [await interpreted(database, one) for one in (made, moved, replace(made, event_id="3"))]
    assert [page[0].object_id for page in pages] == ["/a", "/a", "/a#3"]


async def test_duplicates_are_absorbed_across_pages_and_restarts(database: Database) -> None:
    page = [change(number, "create", f"f{number}", f"/{number}") for number in range(5)]
    assert await taken(database, *page[:3], page[1]) == 3
    assert await taken(database, *reversed(page)) == 2
    await database.engine.dispose()  # nothing is kept in the process
    assert await taken(database, *page) == 0
    async with database.read() as connection:
        assert await events.known_keys(connection, 31, [str(number) for number in range(9)]) == {*"01234"}
        sequences = await connection.scalars(select(table(Event).c.sequence))
        assert sorted(sequences) == [1, 2, 3, 4, 5]


async def test_a_change_that_comes_both_ways_is_told_once(database: Database) -> None:
    called = change(1, "upload", "f1", "/x", event_id="hook")
    polled = change(4, "version", "f1", "/x", event_id="poll")
    assert await taken(database, called, origin=WEBHOOK) == 1
    assert await taken(database, polled) == 0
    assert await taken(database, polled) == 0  # and when the page is read again
    second = change(5, "version", "f1", "/x", event_id="poll 2")
    assert await taken(database, second) == 1  # the vendor dropped its call


@pytest.mark.parametrize("numbers", [(7, 7), (7, 8)])
async def test_the_number_of_an_object_tells_twins_apart(
    database: Database, numbers: tuple[int, int]
) -> None:
    polled = change(1, "trash", "f1", "/x", sequence=numbers[0], event_type="DELETED")
    called = change(90, "trash", "f1", "/x", sequence=numbers[1], event_type="DELETED")
    assert await taken(database, polled) == 1
    assert await taken(database, called, origin=WEBHOOK) == (0 if numbers[0] == numbers[1] else 1)


async def test_what_is_only_polled_is_never_taken_for_a_twin(database: Database) -> None:
    one, other = (change(1, "version", "f1", "/x", event_id=key) for key in "ab")
    assert await taken(database, one, origin=WEBHOOK, where=instance()) == 1
    assert await taken(database, other, where=instance()) == 1


async def test_a_twin_is_found_however_much_has_come_since(database: Database) -> None:
    called = [change(n // 9, "create", f"f{n}", f"/{n}", event_id=f"hook {n}") for n in range(1200)]
    for start in range(0, 1200, 100):
        await taken(database, *called[start : start + 100], origin=WEBHOOK)
    polled = [change(n // 9, "create", f"f{n}", f"/{n}") for n in range(1200)]
    assert [await taken(database, replace(one, event_id=f"{n}")) for n, one in enumerate(polled[:2])] == [
        0,
        0,
    ]
    assert await taken(database, *[replace(one, event_id=f"{n}") for n, one in enumerate(polled)]) == 0
    repeated = called[0]  # and what the vendor tells again in the one way or the other
    assert await taken(database, repeated, origin=WEBHOOK) == 0
    assert await taken(database, replace(repeated, event_id="0")) == 0


async def test_of_two_near_changes_the_nearer_one_is_the_twin(database: Database) -> None:
    called = change(10, "version", "f1", "/x", event_id="hook")
    assert await taken(database, called, origin=WEBHOOK) == 1
    lost = change(7, "version", "f1", "/x", event_id="lost")
    assert await taken(database, lost, replace(called, event_id="poll")) == 1
    assert [row.key for row in await stored(database)] == ["hook", "lost"]


async def test_a_change_with_the_same_verb_is_rather_the_twin(database: Database) -> None:
    called = change(10, "move", "f1", "/x", event_id="hook")
    assert await taken(database, called, origin=WEBHOOK) == 1
    renamed = change(10, "rename", "f1", "/x", event_id="rename")
    assert await taken(database, renamed, change(12, "move", "f1", "/X", event_id="poll")) == 1
    assert [row.key for row in await stored(database)] == ["hook", "rename"]


async def test_a_change_at_another_path_is_no_twin(database: Database) -> None:
    called = change(1, "move", "f1", "/b", previous_path="/a", event_id="hook")
    assert await taken(database, called, origin=WEBHOOK) == 1
    assert await taken(database, change(2, "move", "f1", "/c", previous_path="/b")) == 1


async def test_twins_at_the_edges_of_the_calendar(database: Database) -> None:
    edges = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    page = [change(n, "version", "f1", "/x", date=moment) for n, moment in enumerate(edges)]
    assert await taken(database, *page, origin=WEBHOOK) == 2
    assert await taken(database, *[replace(one, event_id=one.event_id + "p") for one in page]) == 0


async def test_at_another_place_of_the_vendor_no_old_key_is_known(database: Database) -> None:
    assert await taken(database, change(1, "version", "f1", "/x", event_id="hook"), origin=WEBHOOK) == 1
    assert await taken(database, change(1, "version", "f1", "/x", event_id="poll")) == 0
    async with database.write() as connection:
        await events.rename_keys(connection, 31, prefix="old:")
        assert await events.known_keys(connection, 31, ["hook", "poll"]) == set()
        assert await events.known_keys(connection, 31, ["old:poll"]) == {"old:poll"}


async def test_a_key_of_any_length_is_stored_once(database: Database) -> None:
    chance = random.Random(5)
    long = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    page = [change(1, "create", "f1", "/a", event_id=long + end) for end in "xy"]
    assert await taken(database, *page) == 2
    assert await taken(database, *page) == 0


async def stored(database: Database) -> Sequence[Any]:
    async with database.read() as connection:
        return (await connection.execute(select(table(Event)).order_by(table(Event).c.sequence))).all()


def described(changes: Sequence[Change]) -> list[str]:
    return [item.event_type for item in changes]


async def test_the_first_contact_with_a_file_is_told_as_the_vendor_says_it(database: Database) -> None:
    create = change(1, "create", "f1", "/old", if_known=("UPDATED", "version"))
    assert described(await interpreted(database, create)) == ["CREATED"]
    assert described(await interpreted(database, create)) == ["UPDATED"]
