"""Egnyte's event streams: what is asked for, what is lost, and what each event means (over real HTTP where a
sandbox can do it)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from acme import Acme
from egnyte_account import answering, connect, played
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import PATIENCE

from app import configuration
from app.errors import BadRequest, VendorThrottled, VendorUnauthorized, VendorUnavailable
from app.hubs.documents import NEWEST, Change
from app.providers.egnyte import Egnyte, changes
from app.upstream.client import open_client
from app.wire import events as rows

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
FILE = {"target_path": "/Shared/b.txt", "target_id": "e", "target_group_id": "g", "is_folder": False}
FOLDER = {"target_path": "/Shared/f", "folder_id": "f", "target_id": "t", "is_folder": True}
OLD_FILE = {"target_path": "/Shared/b.txt", "is_folder": False}
OLD_FOLDER = {"target_path": "/Shared/f", "is_folder": True}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as opened:
        yield opened


@pytest.fixture
def account(acme: Acme, client: httpx.AsyncClient) -> Egnyte:
    return connect(acme, client)


# What is asked for


@pytest.mark.parametrize(
    ("configured", "path", "asked"),
    [
        ({}, "/pubapi/v2/events", {}),
        ({"version": "v1"}, "/pubapi/v1/events", {}),
        ({"types": "note"}, "/pubapi/v2/events", {"type": "note"}),
        ({"types": "file_system, note,note"}, "/pubapi/v2/events", {"type": "file_system|note"}),
        ({"version": "v1", "types": "permission_change"}, "/pubapi/v1/events", {"type": "permission_change"}),
        ({"folder": "/Shared/A b/"}, "/pubapi/v2/events", {"folder": "/Shared/A b"}),
        ({"suppress": "app"}, "/pubapi/v2/events", {"suppress": "app"}),
        ({"suppress": "none", "folder": "", "types": None}, "/pubapi/v2/events", {}),
    ],
)
async def test_the_configuration_says_what_is_asked_for(
    configured: dict[str, str | None], path: str, asked: dict[str, str]
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(204)

    account = played(answer, {f"egnyte.events.{key}": value for key, value in configured.items()})
    await account.changes("5", 100)
    assert requests[0].url.path == path
    assert dict(requests[0].url.params) == {"id": "5", "count": "100", **asked}


APP = {"oauth.api.key": "k", "oauth.api.secret": "s", "oauth.callback.url": "http://x", "subdomain": "acme"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "v3"),
        ("types", "files"),
        ("types", "note|"),
        ("types", "note file_system"),
        ("folder", "Shared"),
        ("folder", "/"),
        ("folder", "/Shared/../Private"),
        ("folder", "/Shared//A"),
        ("folder", "/Shared/a\x00"),
        ("suppress", "everybody"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key: str, value: str) -> None:
    with pytest.raises(BadRequest, match=rf"configuration\.egnyte\.events\.{key}: .* (an example is|one of)"):
        configuration.check(Egnyte, APP | {f"egnyte.events.{key}": value})


def test_every_example_of_a_field_can_be_used() -> None:
    configuration.check(Egnyte, APP | {field.key: field.example for field in changes.FIELDS})


async def test_version_1_leaves_permission_changes_out(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.change("folder", "/Shared/New")
    acme.change("permission", "/Shared/New", subject="/user/122", level="Viewer")
    first = await connect(acme, client, {"egnyte.events.version": "v1"}).changes(None, 100)
    second = await connect(acme, client).changes(None, 100)
    assert [change.change for change in first.changes] == ["create"]
    assert [change.change for change in second.changes] == ["create", "permission"]
    assert second.changes[1].object_type == "folder"


@pytest.mark.parametrize("form", ["404", "oldest"])
async def test_a_cursor_that_is_too_old_goes_on_at_the_oldest_and_reports_a_gap(
    acme: Acme, account: Egnyte, form: str
) -> None:
    acme.configure(stale_cursor=form)
    acme.change("upload", "/Shared/lost.txt", content="x")
    kept = acme.change("upload", "/Shared/kept.txt", content="x")
    acme.control("events/drop", before_id=kept["latest_id"])
    long_ago = int((datetime.now(UTC) - timedelta(days=40)).timestamp())
    page = await account.changes(f"4000@{long_ago}", 100)
    assert page.gap
    assert [change.name for change in page.changes] == ["kept.txt"]
    again = await account.changes(page.cursor, 100)
    assert (again.changes, again.gap) == ([], False)


async def test_a_reader_who_was_away_without_missing_anything_has_no_gap(acme: Acme, account: Egnyte) -> None:
    first = await account.changes(NEWEST, 100)
    acme.change("upload", "/Shared/a.txt", content="x")
    old = first.cursor.partition("@")[0] + "@1"
    page = await account.changes(old, 100)
    assert (len(page.changes), page.gap) == (1, False)


async def test_the_cursor_is_never_ahead_of_what_was_read(acme: Acme, account: Egnyte) -> None:
    acme.change("upload", "/Shared/{n}.txt", content="x", count=30)
    for kind in ("duplicate_events", "reorder_events"):
        acme.fault(kind, path="/pubapi/v2/events")
    page = await account.changes(None, 10)
    found = [change.name for change in page.changes]
    while page.more:
        page = await account.changes(page.cursor, 10)
        found += [change.name for change in page.changes]
    assert found == [f"{number}.txt" for number in range(30)]


async def test_types_folder_and_suppress_leave_the_others_out(acme: Acme, client: httpx.AsyncClient) -> None:
    acme.change("upload", "/Shared/A/a.txt", content="x")
    acme.change("note", "/Shared/A/a.txt", content="hm", user="jsmith")
    acme.change("upload", "/Shared/B/b.txt", content="x", user="jsmith")

    async def seen(**configured: str) -> list[str | None]:
        wanted: dict[str, str | None] = {f"egnyte.events.{key}": value for key, value in configured.items()}
        page = await connect(acme, client, wanted).changes(None, 100)
        return [change.name for change in page.changes if change.object_type == "file"]

    assert await seen() == ["a.txt", "a.txt", "b.txt"]
    assert await seen(types="note") == ["a.txt"]
    assert await seen(folder="/Shared/B") == ["b.txt"]
    assert await seen(suppress="user") == ["a.txt"]


# What is lost


def page_of(*events: dict[str, Any], **body: Any) -> dict[str, Any]:
    return {"count": len(events), "events": list(events), "latest_id": 99, **body}


def happened(number: int, ago: timedelta) -> dict[str, Any]:
    moment = (datetime.now(UTC) - ago).isoformat()
    return {"id": number, "type": "file_system", "action": "create", "timestamp": moment, "data": FILE}


def read(number: int, ago: timedelta) -> str:
    return f"{number}@{int((datetime.now(UTC) - ago).timestamp())}"


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("cursor", "event", "is_gap"),
    [
        (read(5, HOUR), happened(90, HOUR / 2), True),  # what is oldest now came after the last look
        (read(5, HOUR), happened(90, HOUR * 2), False),  # nothing of this reader's was there for a long time
        (read(5, HOUR), happened(95, HOUR / 2), False),  # what is oldest is not this reader's to see
        (read(5, HOUR * 50), happened(95, HOUR / 2), True),
        (read(89, HOUR * 50), happened(90, HOUR / 2), False),
        ("5", happened(90, HOUR * 2), True),
        ("89", happened(90, HOUR * 2), False),
    ],
    ids=[
        "came-after-the-last-look",
        "nothing-was-there",
        "not-to-see",
        "away-for-long",
        "nothing-missing-while-away",
        "from-before-cursors-knew-when",
        "from-before-and-nothing-missing",
    ],  # given, because each process that collects this has its own time
)
@pytest.mark.parametrize("form", ["oldest", "404"])
async def test_a_gap_is_what_may_be_lost_and_not_what_was_never_there(
    cursor: str, event: dict[str, Any], is_gap: bool, form: str
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        if asked[-1] == "cursor":
            return httpx.Response(200, json={"latest_event_id": 99, "oldest_event_id": 90})
        if form == "404" and int(request.url.params["id"]) < 89:
            return httpx.Response(404, json={"message": "Invalid cursor"})
        return httpx.Response(200, json=page_of(event, oldest_id=90))

    page = await played(answer).changes(cursor, 100)
    assert page.gap is is_gap
    assert page.cursor.startswith(f"{event['id']}@")
    assert ("cursor" in asked) is (form == "404" and not cursor.startswith("89"))


async def test_an_older_domain_that_says_no_oldest_id_is_asked_after_a_long_time(
    acme: Acme, account: Egnyte
) -> None:
    acme.configure(event_form="old")
    acme.change("upload", "/Shared/lost.txt", content="x")
    kept = acme.change("upload", "/Shared/kept.txt", content="x")
    acme.control("events/drop", before_id=kept["latest_id"])
    assert (await account.changes(read(4000, HOUR * 50), 100)).gap
    assert not (await account.changes(read(4000, HOUR), 100)).gap


async def test_a_gap_with_nothing_behind_it_is_reported_once(acme: Acme, account: Egnyte) -> None:
    acme.change("upload", "/Shared/lost.txt", content="x")
    acme.change("upload", "/Shared/lost too.txt", content="x")
    acme.control("events/drop", before_id="all")
    page = await account.changes(read(4000, HOUR * 50), 100)
    assert (page.changes, page.gap) == ([], True)
    again = await account.changes(page.cursor.partition("@")[0] + "@1", 100)
    assert (again.changes, again.gap) == ([], False)


# What each event means


def at(source: str, **ids: str) -> dict[str, str]:
    return {"source_path": source, **ids}


def told(kind: str, action: str, data: Any, **more: Any) -> Change:
    event = {"id": 77, "timestamp": "2026-01-05T10:00:00.000Z", "actor": 121, "type": kind, "action": action}
    return changes.told(event | {"data": data} | more)


MOVED = FILE | at("/Private/b.txt", source_id="e", source_group_id="g")
RENAMED = FILE | at("/Shared/a.txt", source_id="e", source_group_id="g")


@pytest.mark.parametrize(
    ("kind", "action", "data", "expected"),
    [
        ("file_system", "create", FILE, ("CREATED", "create", "file", "g")),
        ("file_system", "create", FOLDER, ("CREATED", "create", "folder", "f")),
        ("file_system", "create", {**FOLDER, "folder_id": None}, ("CREATED", "create", "folder", "t")),
        ("file_system", "delete", FILE, ("DELETED", "delete", "file", "g")),
        ("file_system", "delete", FOLDER, ("DELETED", "delete", "folder", "f")),
        ("file_system", "move", MOVED, ("UPDATED", "move", "file", "g")),
        ("file_system", "move", RENAMED, ("UPDATED", "rename", "file", "g")),
        ("file_system", "move", FOLDER | at("/f"), ("UPDATED", "move", "folder", "f")),
        ("file_system", "rename", RENAMED, ("UPDATED", "rename", "file", "g")),
        ("file_system", "rename", MOVED, ("UPDATED", "move", "file", "g")),
        ("file_system", "rename", FOLDER | at("/Shared/g"), ("UPDATED", "rename", "folder", "f")),
        ("file_system", "copy", FILE | at("/Shared/a"), ("CREATED", "copy", "file", "g")),
        ("file_system", "copy", FOLDER | at("/Shared/a"), ("CREATED", "copy", "folder", "f")),
        ("file_system", "restore", FILE, ("CREATED", "restore", "file", "g")),
        ("file_system", "restore", FOLDER, ("CREATED", "restore", "folder", "f")),
        ("file_system", "create", OLD_FILE, ("CREATED", "create", "file", "/Shared/b.txt")),
        ("file_system", "delete", OLD_FOLDER, ("DELETED", "delete", "folder", "/Shared/f")),
        ("note", "create", {"note_id": "n"}, ("CREATED", "comment", "note", "n")),
        ("note", "create", {"note_id": "n", **OLD_FILE}, ("UPDATED", "comment", "file", "/Shared/b.txt")),
        ("note", "create", {"note_id": "n", "file_id": "g"}, ("UPDATED", "comment", "file", "g")),
        ("note", "create", FILE | {"note_id": "n"}, ("UPDATED", "comment", "file", "g")),
        ("note", "delete", {"note_id": "n"}, ("DELETED", "uncomment", "note", "n")),
        ("note", "delete", {"note_id": "n", **OLD_FILE}, ("UPDATED", "uncomment", "file", "/Shared/b.txt")),
        (
            "permission_change",
            "permission_change",
            OLD_FILE,
            ("UPDATED", "permission", "folder", "/Shared/b.txt"),
        ),
        ("file_system", "levitate", FILE, ("UNKNOWN", "levitate", "file", "g")),
        ("note", "levitate", {"note_id": "n"}, ("UNKNOWN", "levitate", "note", "n")),
        ("permission_change", "levitate", OLD_FILE, ("UNKNOWN", "levitate", "folder", "/Shared/b.txt")),
        ("weather", "rain", None, ("UNKNOWN", "rain", "file", "77")),
    ],
)
def test_events_are_told_in_cloud_elements_words(
    kind: str, action: str, data: Any, expected: tuple[str, ...]
) -> None:
    found = told(kind, action, data)
    assert (found.event_type, found.change, found.object_type, found.object_id) == expected
    assert (found.event_id, found.actor_id, found.date) == ("77", "121", NOW)
    assert (found.raw["action"], found.raw["data"]) == (action, data)
    assert found.by_path is (found.object_id == found.path)


def test_a_file_that_is_created_may_be_a_new_version_of_a_known_one() -> None:
    assert told("file_system", "create", FILE).if_known == ("UPDATED", "version")
    assert told("file_system", "create", OLD_FILE).if_known == ("UPDATED", "version")
    others = [told("file_system", "create", FOLDER), told("file_system", "restore", FILE)]
    assert {change.if_known for change in [*others, told("note", "create", FILE)]} == {None}


def test_only_files_have_versions() -> None:
    assert told("file_system", "create", FILE).version_id == "e"
    assert told("file_system", "create", FOLDER).version_id is None
    assert told("note", "create", FILE).version_id is None


def test_a_move_comes_from_somewhere_and_a_copy_is_made_of_something() -> None:
    moved = told("file_system", "move", MOVED)
    assert (moved.path, moved.previous_path, moved.copied_from) == ("/Shared/b.txt", "/Private/b.txt", None)
    copied = told("file_system", "copy", FILE | at("/Private/a.txt", source_group_id="other"))
    assert (copied.path, copied.previous_path, copied.copied_from) == (
        "/Shared/b.txt",
        None,
        "/Private/a.txt",
    )
    assert (moved.name, copied.name) == ("b.txt", "b.txt")


def test_a_permission_change_names_its_folder_by_id() -> None:
    details = {"targetFolderId": "f-1"}
    found = told("permission_change", "permission_change", OLD_FILE, eventTypeSpecificAttributes=details)
    assert (found.object_type, found.object_id, found.by_path) == ("folder", "f-1", False)


async def test_every_change_of_the_sandbox_is_told(acme: Acme, account: Egnyte) -> None:
    acme.change("upload", "/Shared/A/a.txt", content="one")
    acme.change("upload", "/Shared/A/a.txt", content="two")
    acme.change("copy", "/Shared/A/a.txt", destination="/Shared/A/b.txt")
    acme.change("rename", "/Shared/A/b.txt", destination="/Shared/A/c.txt")
    acme.change("move", "/Shared/A/c.txt", destination="/Shared/c.txt")
    acme.change("note", "/Shared/c.txt", content="hm")
    acme.change("delete", "/Shared/c.txt")
    acme.change("restore", "/Shared/c.txt")
    acme.change("permission", "/Shared/A")
    found = (await account.changes(None, 100)).changes
    assert [change.change for change in found] == [
        *("create", "create", "create", "copy", "rename", "move"),
        *("comment", "delete", "restore", "permission"),
    ]
    folder, first, second, copy = found[:4]
    assert first.object_id == second.object_id
    assert first.version_id != second.version_id
    note = found.pop(6)
    assert (note.object_id, note.by_path) == ("/Shared/c.txt", True)
    assert {change.object_id for change in found[3:8]} == {copy.object_id}
    assert found[8].object_id == folder.object_id
    assert not any(change.by_path for change in found)


async def test_old_payloads_carry_only_paths(acme: Acme, account: Egnyte) -> None:
    acme.configure(event_form="old")
    acme.change("upload", "/Shared/a.txt", content="one")
    acme.change("folder", "/Shared/A")
    acme.change("permission", "/Shared/A")
    found = (await account.changes(None, 100)).changes
    assert [(change.object_type, change.object_id) for change in found] == [
        ("file", "/Shared/a.txt"),
        ("folder", "/Shared/A"),
        ("folder", "/Shared/A"),
    ]
    assert all(change.by_path for change in found)


async def test_a_note_of_which_only_the_id_came_is_told_of_its_file(acme: Acme, account: Egnyte) -> None:
    acme.configure(event_form="old")
    acme.change("upload", "/Shared/a.txt", content="one")
    acme.change("note", "/Shared/a.txt", content="hm")
    file_id = acme.http.get("/pubapi/v1/fs/Shared/a.txt").json()["group_id"]
    note = (await account.changes(None, 100)).changes[1]
    assert (note.event_type, note.change, note.object_type) == ("UPDATED", "comment", "file")
    assert (note.object_id, note.path, note.name) == (file_id, "/Shared/a.txt", "a.txt")
    assert note.raw["data"] == {"note_id": note.raw["data"]["note_id"]}


async def test_a_note_that_is_gone_stays_a_note(acme: Acme, account: Egnyte) -> None:
    acme.configure(event_form="old")
    acme.change("upload", "/Shared/a.txt", content="one")
    acme.change("note", "/Shared/a.txt", content="hm")
    note_id = acme.http.get("/pubapi/v1/notes").json()["notes"][0]["id"]
    acme.change("note_delete", note_id=note_id)
    found = (await account.changes(None, 100)).changes[1:]
    assert [(note.object_type, note.event_type, note.object_id) for note in found] == [
        ("note", "CREATED", note_id),
        ("note", "DELETED", note_id),
    ]


def noted(answer: httpx.Response, asked: list[str], count: int = 9, throttled_at: int = 99) -> Egnyte:
    """An account with notes, to each question about which this is the answer, until there are too many."""
    notes = [
        {"id": n, "type": "note", "action": "create", "data": {"note_id": f"n{n}"}}
        for n in range(1, count + 1)
    ]

    def play(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, json=page_of(*notes[int(request.url.params["id"]) :]))
        asked.append(request.url.path)
        if len(asked) > throttled_at:
            return httpx.Response(429, headers={"Retry-After": "9"})
        return answer

    return played(play)


A_NOTE = {"id": "n", "file_path": "/Shared/a.txt", "group_id": "g"}


async def test_a_page_ends_before_the_note_that_is_one_too_many() -> None:
    asked: list[str] = []
    account = noted(httpx.Response(200, json=A_NOTE), asked, count=5)
    page = await account.changes("0", 100)
    assert asked == [f"/pubapi/v1/notes/n{n}" for n in (1, 2, 3)]
    assert ([change.event_id for change in page.changes], page.more) == (["1", "2", "3"], True)
    rest = await account.changes(page.cursor, 100)
    assert ([change.event_id for change in rest.changes], rest.more) == (["4", "5"], False)
    assert {change.object_type for change in [*page.changes, *rest.changes]} == {"file"}


async def test_a_page_ends_before_a_note_that_egnyte_has_no_time_for() -> None:
    account = noted(httpx.Response(200, json=A_NOTE), [], throttled_at=1)
    page = await account.changes("0", 100)
    assert ([change.event_id for change in page.changes], page.more) == (["1"], True)
    with pytest.raises(VendorThrottled):
        await account.changes(page.cursor, 100)


@pytest.mark.parametrize("status", [403, 500])
async def test_a_note_that_cannot_be_asked_for_holds_up_nothing(status: int) -> None:
    asked: list[str] = []
    page = await noted(httpx.Response(status), asked).changes("0", 100)
    assert (len(asked), {change.object_type for change in page.changes}) == (1, {"note"})
    assert len(page.changes) == 9


async def test_a_note_with_an_odd_answer_stays_a_note() -> None:
    page = await noted(httpx.Response(200, json=["?"]), [], count=1).changes("0", 100)
    assert (page.changes[0].object_type, page.changes[0].object_id) == ("note", "n1")


async def test_a_token_that_ended_between_two_calls_is_told() -> None:
    with pytest.raises(VendorUnauthorized):
        await noted(httpx.Response(401), []).changes("0", 100)


async def test_a_throttled_page_is_told() -> None:
    account = played(lambda request: httpx.Response(429, headers={"Retry-After": "7"}))
    with pytest.raises(VendorThrottled) as caught:
        await account.changes("5", 100)
    assert caught.value.retry_after == 7


# What makes no sense


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": None, "data": []},
        {"timestamp": "yesterday"},
        {"data": {"target_path": 5}},
        {"data": "text"},
    ],
)
def test_an_event_that_makes_no_sense_is_passed_on(event: dict[str, Any]) -> None:
    found = changes.told(event)
    assert found.event_type == "UNKNOWN"
    assert found.raw == event
    assert found.event_id == changes.told(dict(event)).event_id


@pytest.mark.parametrize(
    "body", [None, [], 1, "text", {}, {"events": 1}, {"events": "text"}, {"message": "m"}]
)
async def test_json_of_another_form_is_no_answer(body: Any) -> None:
    for cursor in (None, NEWEST, "5"):
        with pytest.raises(VendorUnavailable):
            await answering(body, body).changes(cursor, 10)


async def test_one_odd_event_does_not_hold_up_the_others() -> None:
    odd: list[Any] = [
        None,
        "text",
        {"id": "abc"},
        {"id": 2**70},
        {"id": 8, "timestamp": "0001-01-01T00:00+14:00"},
    ]
    events = [{"id": 7, "type": "file_system", "action": "delete", "data": FILE}, *odd]
    page = await answering({}, {"events": events}).changes("5", 100)
    assert len(page.changes) == len(events)
    assert [change.event_type for change in page.changes].count("UNKNOWN") == len(odd)
    assert page.cursor.startswith("8@")


async def test_a_full_page_that_leads_nowhere_is_not_asked_for_again() -> None:
    page = await answering({}, {"events": [{"id": 5}, {"id": "abc"}]}).changes("5", 2)
    assert (page.more, page.cursor.partition("@")[0]) == (False, "5")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "timestamp", "actor", "type", "action", "data", "eventTypeSpecificAttributes"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["target_path", "source_path", "is_folder", "target_id", "note_id", "x"]),
                    inner,
                )
            ),
            max_leaves=8,
        )
        | st.sampled_from(["file_system", "note", "permission_change", "move", "9999-12-31T23:59:59-14:00"]),
    )
)
def test_any_event_can_be_told(event: dict[str, Any]) -> None:
    found = changes.told(event)
    assert found.event_type in {"CREATED", "UPDATED", "DELETED", "UNKNOWN"}
    assert found.object_id
    assert found.raw == event
    assert orjson.dumps(rows.row(found, raw=True))
