"""Box's events: what each of them means in each of its three forms, and how its streams are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from box_account import Box as BoxAccount
from processes import PATIENCE

from app import configuration
from app.errors import BadRequest, VendorForbidden, VendorRefused, VendorUnauthorized, VendorUnavailable
from app.hubs.documents import NEWEST, Call, Change
from app.providers.box import Box, meaning
from app.upstream.client import Upstream, open_client

USER = {"type": "user", "id": "11446498", "name": "Ann Lee", "login": "ann@example.com"}
PLACE = {"type": "folder", "id": "777", "sequence_id": "1", "etag": "1", "name": "Docs"}
ABOVE = [{"type": "folder", "id": "0", "sequence_id": None, "etag": None, "name": "All Files"}, PLACE]
FILE = {
    "type": "file",
    "id": "12345",
    "sequence_id": "4",
    "etag": "2",
    "name": "a.docx",
    "size": 629644,
    "path_collection": {"total_count": 2, "entries": ABOVE},
    "parent": PLACE,
    "item_status": "active",
    "file_version": {
        "type": "file_version",
        "id": "98765",
        "sha1": "85136c79cbf9fe36bb9d05d0639c70c265c18d37",
    },
}
FOLDER = {key: value for key, value in FILE.items() if key not in {"size", "file_version"}} | {
    "type": "folder",
    "id": "888",
    "name": "New",
}
MINI = {"type": "file", "id": "12345", "sequence_id": "4", "etag": "2", "name": "a.docx"}
COMMENT = {"type": "comment", "id": "191", "message": "look", "item": MINI}
TASK = {"type": "task_assignment", "id": "2698", "item": MINI, "assigned_to": USER}
COLLABORATION = {"type": "collaboration", "id": "1456", "role": "editor", "item": {**MINI, "type": "folder"}}
ITEM = {"item_type": "file", "item_id": "12345", "item_name": "a.docx", "parent": PLACE, "owned_by": USER}

Json = dict[str, Any]


def streamed(name: str, source: Json | None, **more: Any) -> Json:
    """An event of a stream."""
    return {
        "type": "event",
        "event_id": "f82c3ba03e41f7e8a7608363cc6c0390183c3f83",
        "event_type": name,
        "session_id": "70090280850c8d2a1933c1",
        "created_at": "2026-01-05T02:00:00-08:00",
        "recorded_at": "2026-01-05T02:00:01-08:00",
        "created_by": USER,
        "source": source,
        **more,
    }


def called(trigger: str, source: Json | None) -> Json:
    """The body of a webhook."""
    return {
        "type": "webhook_event",
        "id": "0f6a1d0c-3d5b-4c0d-9b0a-4f7d1a7a4a11",
        "created_at": "2026-01-05T02:00:00-08:00",
        "trigger": trigger,
        "webhook": {"id": "53", "type": "webhook"},
        "created_by": USER,
        "source": source,
        "additional_info": [],
    }


def told(event: Json, *, tasks: bool = False) -> Change | None:
    """What is made of an event, in whichever form it is; None if nothing is."""
    if event["type"] == "webhook_event":
        changes: Sequence[Change] = Box.announced(call(event)).changes
    else:
        changes = meaning.changes_in([event], tasks=tasks)
    return changes[0] if changes else None


def call(body: Json) -> Call:
    return Call("POST", {"content-type": "application/json"}, {}, orjson.dumps(body), datetime.now(UTC))


def meant(event: Json) -> tuple[str, str] | None:
    change = told(event, tasks=True)
    return (change.event_type, change.change) if change else None


# The table, written down a second time: names of the user streams, of the enterprise's, and triggers.

TABLE: list[tuple[str, str, str, str, str, Json]] = [
    ("CREATED", "create", "ITEM_CREATE", "", "FOLDER.CREATED", FOLDER),
    ("UPDATED", "version", "ITEM_UPLOAD", "EDIT ITEM_MODIFY", "FILE.UPLOADED", FILE),
    ("CREATED", "upload", "ITEM_UPLOAD", "UPLOAD", "FILE.UPLOADED", {**FILE, "etag": "0"}),
    ("CREATED", "copy", "ITEM_COPY", "COPY", "FILE.COPIED FOLDER.COPIED", FILE),
    ("UPDATED", "move", "ITEM_MOVE", "MOVE", "FILE.MOVED FOLDER.MOVED", FILE),
    ("UPDATED", "rename", "ITEM_RENAME", "RENAME", "FILE.RENAMED FOLDER.RENAMED", FILE),
    ("DELETED", "trash", "ITEM_TRASH", "DELETE", "FILE.TRASHED FOLDER.TRASHED", FILE),
    ("DELETED", "purge", "", "", "FILE.DELETED FOLDER.DELETED", FILE),
    ("CREATED", "restore", "ITEM_UNDELETE_VIA_TRASH", "UNDELETE", "FILE.RESTORED FOLDER.RESTORED", FILE),
    ("UPDATED", "version", "ITEM_MAKE_CURRENT_VERSION", "FILE_VERSION_RESTORE", "", FILE),
    ("UPDATED", "lock", "LOCK_CREATE", "LOCK", "FILE.LOCKED", FILE),
    ("UPDATED", "unlock", "LOCK_DESTROY", "UNLOCK", "FILE.UNLOCKED", FILE),
    ("UPDATED", "share", "ITEM_SHARED_CREATE ITEM_SHARED ITEM_SHARED_UPDATE",
     "SHARE ITEM_SHARED_UPDATE UPDATE_SHARE_EXPIRATION SHARE_EXPIRATION",
     "SHARED_LINK.CREATED SHARED_LINK.UPDATED", FILE),
    ("UPDATED", "unshare", "ITEM_SHARED_UNSHARE", "UNSHARE", "SHARED_LINK.DELETED", FILE),
    ("UPDATED", "permission",
     "COLLAB_ADD_COLLABORATOR COLLAB_INVITE_COLLABORATOR COLLAB_ROLE_CHANGE COLLAB_REMOVE_COLLABORATOR",
     ("COLLABORATION_INVITE COLLABORATION_ACCEPT COLLABORATION_ROLE_CHANGE COLLABORATION_REMOVE "
      "COLLABORATION_EXPIRATION CHANGE_FOLDER_PERMISSION"),
     ("COLLABORATION.CREATED COLLABORATION.ACCEPTED COLLABORATION.REJECTED COLLABORATION.REMOVED "
      "COLLABORATION.UPDATED"), COLLABORATION),
    ("UPDATED", "comment", "COMMENT_CREATE COMMENT_EDIT COMMENT_DELETE",
     "COMMENT_CREATE COMMENT_EDIT COMMENT_DELETE", "COMMENT.CREATED COMMENT.UPDATED COMMENT.DELETED",
     COMMENT),
    ("UPDATED", "task", "TASK_CREATE TASK_ASSIGNMENT_CREATE",
     "TASK_CREATE TASK_UPDATE TASK_ASSIGNMENT_CREATE TASK_ASSIGNMENT_UPDATE TASK_ASSIGNMENT_DELETE",
     "TASK_ASSIGNMENT.CREATED TASK_ASSIGNMENT.UPDATED", TASK),
    ("UPDATED", "tag", "TAG_ITEM_CREATE", "", "", FILE),
    ("UPDATED", "metadata", "",
     "METADATA_INSTANCE_CREATE METADATA_INSTANCE_UPDATE METADATA_INSTANCE_DELETE METADATA_INSTANCE_COPY",
     "METADATA_INSTANCE.CREATED METADATA_INSTANCE.UPDATED METADATA_INSTANCE.DELETED", FILE),
]  # fmt: skip
NOTHING = [
    "ITEM_SYNC", "ITEM_UNSYNC", "ITEM_DOWNLOAD", "ITEM_PREVIEW", "DOWNLOAD", "PREVIEW", "ITEM_OPEN",
    "CONTENT_ACCESS", "GROUP_ADD_USER", "GROUP_REMOVE_USER", "ENABLE_TWO_FACTOR_AUTH",
    "MASTER_INVITE_ACCEPT", "MASTER_INVITE_REJECT", "ACCESS_GRANTED", "ACCESS_REVOKED", "NEW_USER",
    "LOGIN", "FAILED_LOGIN", "ADMIN_LOGIN", "SHIELD_ALERT", "SIGN_DOCUMENT_CREATED",
    "LEGAL_HOLD_POLICY_CREATE", "RETENTION_POLICY_ASSIGNMENT_ADD", "ADD_DEVICE_ASSOCIATION",
    "DEVICE_TRUST_CHECK_FAILED", "OAUTH2_ACCESS_TOKEN_REVOKE", "BOX_AI_USER_REQUEST",
    "AI_SECURITY_DETECTION", "WORKFLOW_AUTOMATION_CREATE", "CONTENT_WORKFLOW_POLICY_ADD",
]  # fmt: skip
READS = ["FILE.DOWNLOADED", "FILE.PREVIEWED", "FOLDER.DOWNLOADED", "SIGN_REQUEST.COMPLETED"]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [(name, row[5], row[:2]) for row in TABLE for name in row[2].split()],
)
def test_an_event_of_a_user_is_told_as_what_it_is(name: str, source: Json, expected: tuple[str, str]) -> None:
    change = told(streamed(name, source), tasks=True)
    assert change is not None
    assert (change.event_type, change.change) == expected
    about = source.get("item", source)
    assert (change.object_type, change.object_id) == (about["type"], about["id"])
    assert (change.actor_id, change.actor_name) == ("11446498", "Ann Lee")
    assert change.date == datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(("name", "expected"), [(name, row[:2]) for row in TABLE for name in row[3].split()])
def test_an_event_of_the_enterprise_is_told_as_what_it_is(name: str, expected: tuple[str, str]) -> None:
    change = told(streamed(name, ITEM, additional_details={"version_id": "98765", "size": 5}), tasks=True)
    assert change is not None
    assert (change.event_type, change.change) == expected
    assert (change.object_type, change.object_id, change.name) == ("file", "12345", "a.docx")
    assert (change.parent_object_id, change.version_id, change.path) == ("777", "98765", None)


@pytest.mark.parametrize(
    ("trigger", "source", "expected"),
    [(name, row[5], row[:2]) for row in TABLE for name in row[4].split()],
)
def test_a_call_for_a_webhook_is_told_as_what_it_is(
    trigger: str, source: Json, expected: tuple[str, str]
) -> None:
    change = told(called(trigger, source))
    assert change is not None
    assert (change.event_type, change.change) == expected
    about = source.get("item", source)
    assert (change.object_type, change.object_id) == (about["type"], about["id"])
    assert change.event_id == "webhook:0f6a1d0c-3d5b-4c0d-9b0a-4f7d1a7a4a11"


@pytest.mark.parametrize("name", NOTHING)
def test_what_changes_no_item_becomes_no_event(name: str) -> None:
    assert meant(streamed(name, FILE)) is None


@pytest.mark.parametrize("trigger", READS)
def test_a_call_about_a_reader_becomes_no_event(trigger: str) -> None:
    assert meant(called(trigger, FILE)) is None


def test_tasks_are_told_only_to_who_wants_them() -> None:
    for name in ("TASK_CREATE", "TASK_ASSIGNMENT_CREATE", "TASK_UPDATE"):
        assert told(streamed(name, TASK)) is None
        assert told(streamed(name, TASK), tasks=True) is not None


@pytest.mark.parametrize("event", [streamed("FILE_SOLD", FILE), called("FILE_SOLD", FILE)])
def test_what_is_unknown_is_told_as_unknown(event: Json) -> None:
    change = told(event)
    assert change is not None
    assert (change.event_type, change.change, change.object_id) == ("UNKNOWN", "FILE_SOLD", "12345")


def test_everything_that_a_source_says_is_kept() -> None:
    change = told(streamed("ITEM_MOVE", FILE))
    assert change is not None
    assert (change.path, change.name, change.parent_object_id) == ("/Docs/a.docx", "a.docx", "777")
    assert (change.version_id, change.sequence) == ("98765", 4)
    assert change.raw["source"]["size"] == 629644


@pytest.mark.parametrize("name", ["ITEM_TRASH", "LOCK_DESTROY"])
def test_an_event_about_nothing_that_is_left_is_unknown(name: str) -> None:
    change = told(streamed(name, None))
    assert change is not None
    assert (change.event_type, change.object_type) == ("UNKNOWN", "unknown")
    assert change.object_id == change.event_id


def test_a_deleted_item_without_a_place_has_no_path() -> None:
    change = told(streamed("ITEM_TRASH", MINI))
    assert change is not None
    assert (change.event_type, change.object_id, change.path) == ("DELETED", "12345", None)


@pytest.mark.parametrize(
    "source",
    [
        {"path_collection": {"entries": [{"id": "1", "name": "Trash"}]}, "parent": {"id": "1"}},
        {"path_collection": {"entries": []}, "parent": None, "item_status": "deleted"},
    ],
)
def test_the_trash_is_no_place_of_a_deleted_item(source: Json) -> None:
    change = told(streamed("ITEM_TRASH", {**FOLDER, "item_status": "trashed"} | source))
    assert change is not None
    assert (change.name, change.path, change.parent_object_id) == ("New", None, None)


def test_a_deleted_item_has_the_place_that_box_still_knows() -> None:
    change = told(streamed("ITEM_TRASH", {**FOLDER, "item_status": "trashed"}))
    assert change is not None
    assert (change.path, change.parent_object_id) == ("/Docs/New", "777")


@pytest.mark.parametrize("event", [streamed("UPLOAD", ITEM), streamed("ITEM_UPLOAD", {**FILE, "etag": None})])
def test_without_an_etag_only_the_memory_tells_an_upload_from_a_version(event: Json) -> None:
    change = told(event)
    assert change is not None
    assert (change.event_type, change.change, change.if_known) == (
        "CREATED",
        "upload",
        ("UPDATED", "version"),
    )


def test_with_an_etag_nothing_is_left_to_the_memory() -> None:
    for etag in ("0", "1"):
        change = told(streamed("ITEM_UPLOAD", {**FILE, "etag": etag}))
        assert change is not None
        assert change.if_known is None


def test_the_copy_of_a_webhook_may_be_the_original() -> None:
    change = told(called("FILE.COPIED", FILE))
    assert change is not None
    assert change.if_known == ("UNKNOWN", "copy")


@pytest.mark.parametrize("number", [None, "", "x", "-1", "9" * 30, "४"])
def test_a_sequence_that_is_no_number_is_none(number: object) -> None:
    change = told(streamed("ITEM_MOVE", {**FILE, "sequence_id": number}))
    assert change is not None
    assert change.sequence is None


def test_a_comment_has_no_sequence_of_its_file() -> None:
    change = told(streamed("COMMENT_CREATE", COMMENT))
    assert change is not None
    assert (change.object_id, change.sequence) == ("12345", None)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_collaboration_may_name_its_item_in_a_third_form(kind: str) -> None:
    source = {f"{kind}_id": "11", f"{kind}_name": "shared", "user_id": "2", "parent": PLACE}
    change = told(streamed("COLLABORATION_ACCEPT", source))
    assert change is not None
    assert (change.object_type, change.object_id, change.name) == (kind, "11", "shared")


def test_a_bookmark_stays_one() -> None:
    change = told(streamed("ITEM_CREATE", {**FOLDER, "type": "web_link"}))
    assert change is not None
    assert (change.event_type, change.object_type) == ("CREATED", "web_link")


def test_an_anonymous_actor_is_kept() -> None:
    change = told(streamed("ITEM_UPLOAD", FILE, created_by={"type": "user", "id": "2", "name": ""}))
    assert change is not None
    assert (change.actor_id, change.actor_name) == ("2", None)


def test_an_event_without_an_id_has_one_of_its_own() -> None:
    one, other = (streamed("ITEM_MOVE", {**FILE, "id": item_id}) for item_id in ("1", "2"))
    for event in (one, other):
        del event["event_id"]
    first, second, third = (told(event) for event in (one, other, one))
    ids = [change.event_id for change in (first, second, third) if change]
    assert ids[0] == ids[2] != ids[1]


# Streams

Reader = Callable[..., Box]


@asynccontextmanager
async def reader_of(box: BoxAccount) -> AsyncIterator[Reader]:
    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as client:

        def reader(user: str = "ann", **values: str) -> Box:
            access_token = box.token(user)["access_token"]

            async def token(rejected: str | None = None) -> str:
                if rejected:
                    raise VendorUnauthorized
                return str(access_token)

            upstream = Upstream(client, base_url=box.url, token=token, interpret=Box.refusal)
            return Box(
                upstream, {f"box.events.{key.replace('_', '.')}": value for key, value in values.items()}
            )

        yield reader


@pytest.fixture
async def reader(box: BoxAccount) -> AsyncIterator[Reader]:
    async with reader_of(box) as made:
        yield made


async def read(provider: Box, cursor: str | None) -> list[tuple[str, str | None]]:
    """Verb and name of every change until the end."""
    found: list[tuple[str, str | None]] = []
    while True:
        page = await provider.changes(cursor, 500)
        found += [(change.change, change.name) for change in page.changes]
        if not page.more:
            return found
        cursor = page.cursor


async def start(provider: Box) -> str:
    return (await provider.changes(NEWEST, 500)).cursor


def requests(box: BoxAccount) -> list[dict[str, str]]:
    seen = box.steering.get("/control/requests", params={"limit": 5000}).json()["requests"]
    return [dict(httpx.QueryParams(row["query"])) for row in seen if row["path"].endswith("/2.0/events")]


@pytest.mark.parametrize(
    ("stream", "comments"),
    [("all", 1), ("changes", 0), ("sync", 0), ("admin_logs", 1), ("admin_logs_streaming", 1)],
)
async def test_every_stream_is_read_from_now_on(
    box: BoxAccount, reader: Reader, stream: str, comments: int
) -> None:
    provider = reader(stream=stream)
    box.change("upload", "/before.txt")
    position = await start(provider)
    box.change("upload", "/a.txt", content="1")
    box.change("comment", "/a.txt", content="look")
    box.change("delete", "/a.txt")
    expected = [("upload", "a.txt"), *[("comment", "a.txt")] * comments, ("trash", "a.txt")]
    assert await read(provider, position) == expected
    assert {query["stream_type"] for query in requests(box)} == {stream}


async def test_the_streams_of_the_enterprise_take_an_administrator(reader: Reader) -> None:
    with pytest.raises(VendorForbidden):
        await reader("bob", stream="admin_logs").changes(NEWEST, 500)


async def test_only_the_types_that_are_wanted_are_read(box: BoxAccount, reader: Reader) -> None:
    provider = reader(stream="admin_logs_streaming", types=" DELETE , MOVE")
    position = await start(provider)
    box.change("upload", "/a.txt")
    box.change("delete", "/a.txt")
    assert await read(provider, position) == [("trash", "a.txt")]
    assert requests(box)[-1]["event_type"] == "DELETE,MOVE"


async def test_history_is_read_from_the_moment_that_is_named(box: BoxAccount, reader: Reader) -> None:
    box.change("upload", "/a.txt")
    provider = reader(stream="admin_logs", created_after="2020-01-01T00:00:00Z")
    first = await provider.changes(NEWEST, 500)
    assert (first.changes, first.more) == ([], True)
    box.change("upload", "/b.txt")
    assert await read(provider, first.cursor) == [("upload", "a.txt"), ("upload", "b.txt")]
    assert requests(box)[-1]["created_after"] == "2020-01-01T00:00:00Z"
    until = reader(stream="admin_logs", created_before="2020-01-01T00:00:00Z")
    assert await read(until, None) == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"types": "DELETE"}, "types"),
        ({"stream": "changes", "types": "DELETE"}, "types"),
        ({"created_after": "2020-01-01T00:00:00Z"}, "created.after"),
        ({"stream": "admin_logs_streaming", "created_before": "2020-01-01T00:00:00Z"}, "created.before"),
    ],
)
async def test_what_box_would_ignore_is_refused(reader: Reader, values: dict[str, str], key: str) -> None:
    with pytest.raises(BadRequest, match=f"configuration.box.events.{key}: "):
        await reader(**values).changes(NEWEST, 500)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("box.events.stream", "everything"),
        ("box.events.types", "upload"),
        ("box.events.types", "UPLOAD,,DELETE"),
        ("box.events.created.after", "yesterday"),
        ("box.events.created.before", "2026-01-31"),
        ("box.events.tasks", "yes"),
        ("box.webhook.targets", "folder"),
        ("box.webhook.targets", "folder:1,web_link:2"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key: str, value: str) -> None:
    required = {field.key: "x" for field in configuration.COMMON if field.required}
    with pytest.raises(BadRequest, match=f"configuration.{key}: "):
        configuration.check(Box, required | {key: value})
    example = next(field.example for field in Box.fields if field.key == key)
    configuration.check(Box, required | {key: example})


async def test_tasks_come_with_their_field(
    box: BoxAccount, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = streamed("TASK_CREATE", TASK)
    monkeypatch.setattr("app.providers.box.changes.decode", lambda _: page_of([event], "5"))
    assert (await reader().changes("1", 500)).changes == []
    assert len((await reader(tasks="true").changes("1", 500)).changes) == 1


def page_of(events: list[Json], position: object) -> Json:
    return {"chunk_size": len(events), "next_stream_position": position, "entries": events}


@pytest.mark.parametrize(
    ("events", "position", "more"),
    [
        ([], "5", False),
        ([streamed("ITEM_MOVE", FILE)], "5", True),
        ([streamed("ITEM_MOVE", FILE)], 1, False),  # an unchanged position, and as a number
        ([streamed("ITEM_DOWNLOAD", FILE)], "5", True),  # nothing to tell, but no end either
        ([streamed("ITEM_DOWNLOAD", FILE)], "1", False),
    ],
)
async def test_an_empty_or_unchanged_page_is_the_end(
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    *,
    events: list[Json],
    position: object,
    more: bool,
) -> None:
    monkeypatch.setattr("app.providers.box.changes.decode", lambda _: page_of(events, position))
    page = await reader().changes("1", 500)
    assert (page.more, page.cursor) == (more, str(position))


@pytest.mark.parametrize("body", [{}, {"entries": []}, [], {"entries": [], "next_stream_position": None}])
async def test_an_answer_that_is_no_page_is_none(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    monkeypatch.setattr("app.providers.box.changes.decode", lambda _: body)
    with pytest.raises(VendorUnavailable):
        await reader().changes("1", 500)


@pytest.mark.parametrize("kind", ["string", "integer"])
async def test_a_position_that_no_float_holds_is_kept(box: BoxAccount, reader: Reader, kind: str) -> None:
    box.configure(stream_position=kind)
    position = await start(reader())
    assert position == box.state()["latest_position"]
    assert int(position) > 2**53


async def test_a_position_that_box_has_forgotten_goes_on_at_the_oldest(
    box: BoxAccount, reader: Reader
) -> None:
    box.configure(stale_position="400")
    provider = reader()
    position = box.change("upload", "/{n}.txt", count=3)["after_position"]
    box.control("events/drop", before="all")
    box.change("upload", "/new.txt")
    page = await provider.changes(position, 500)
    assert page.gap
    assert [change.name for change in page.changes] == ["new.txt"]
    assert not (await provider.changes(page.cursor, 500)).gap


async def test_a_refusal_of_something_else_is_no_gap(box: BoxAccount, reader: Reader) -> None:
    position = await start(reader())
    box.fault("400", times=2, path="/2.0/events")
    with pytest.raises(VendorRefused):
        await reader().changes(position, 500)
    box.fault("412", times=1, path="/2.0/events")
    with pytest.raises(VendorRefused):
        await reader().changes(position, 500)
    assert not (await reader().changes(position, 500)).gap
