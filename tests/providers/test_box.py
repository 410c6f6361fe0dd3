"""Box's quirks, over real HTTP against its sandbox; what every provider must do is in conformance."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from box_account import Box as BoxAccount
from box_account import opened
from contents import cut_in, of_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import PATIENCE
from twins import Twin

from app.errors import (
    BadRequest,
    Conflict,
    RangeNotSatisfiable,
    VendorError,
    VendorForbidden,
    VendorNotFound,
    VendorRefused,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.documents import NEWEST
from app.hubs.entries import Entry, Kind, Target, Upload
from app.providers import box as module
from app.providers.box import Box, meaning
from app.upstream.client import Refusal, Upstream, open_client
from app.upstream.content import Content


def _token(sandbox: httpx.Client) -> str:
    return str(sandbox.post("/control/box/tokens", json={}).json()["access_token"])


def _code(sandbox_url: str) -> str:
    with httpx.Client(base_url=sandbox_url) as sandbox, opened(sandbox, sandbox_url) as account:
        return account.code()


def _change_files(sandbox: httpx.Client, count: int) -> None:
    order = {"action": "upload", "path": "/changes-{n}.txt", "content": "x", "count": count}
    sandbox.post("/control/box/changes", json=order).raise_for_status()


TWIN = Twin(place="", control="/control/box", home="", token=_token, code=_code, change_files=_change_files)

ROOT = Target(Kind.FOLDER, path="/")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(connections=10, timeout=timedelta(seconds=PATIENCE), agent="test") as made:
        yield made


@pytest.fixture
def provider(box: BoxAccount, client: httpx.AsyncClient) -> Box:
    access_token = box.token()["access_token"]

    async def token(rejected: str | None = None) -> str:
        if rejected:
            raise VendorUnauthorized
        return str(access_token)

    upstream = Upstream(
        client,
        base_url=box.url,
        hosts={"upload": box.url},
        token=token,
        interpret=Box.refusal,
        budget=timedelta(seconds=PATIENCE),
    )
    return Box(upstream, {})


async def upload(provider: Box, name: str, data: bytes, *, overwrite: bool = False) -> Entry:
    return await provider.upload(Upload(ROOT, name, of_bytes(data), overwrite=overwrite))


def requests(box: BoxAccount, part: str) -> list[str]:
    """The methods of the requests whose path has this part."""
    seen = box.steering.get("/control/requests", params={"limit": 5000}).json()["requests"]
    return [row["method"] for row in seen if part in row["path"]]


# Uploads: held, streamed, in parts


async def test_a_small_file_is_sent_again_after_throttling(box: BoxAccount, provider: Box) -> None:
    box.fault("429", retry_after=0, path="/api/2.0/files/content")
    entry = await upload(provider, "a.txt", b"hello")
    assert entry.raw["sha1"] == hashlib.sha1(b"hello", usedforsecurity=False).hexdigest()


async def test_a_larger_file_is_streamed_after_a_preflight(
    box: BoxAccount, provider: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD", 10)
    data = b"0123456789" * 1000
    entry = await provider.upload(Upload(ROOT, "a.bin", Content(cut_in(data, 700), len(data))))
    assert entry.size == len(data)
    assert requests(box, "/files/content") == ["OPTIONS", "POST"]
    with pytest.raises(Conflict):
        await upload(provider, "a.bin", b"other" * 10)
    assert requests(box, "/files/content") == ["OPTIONS", "POST", "OPTIONS"]
    again = await upload(provider, "a.bin", b"other" * 10, overwrite=True)
    assert (again.id, again.size) == (entry.id, 50)


async def test_a_file_of_unknown_size_is_refused_before_anything_is_sent(
    box: BoxAccount, provider: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD", 10)
    with pytest.raises(BadRequest, match="size"):
        await provider.upload(Upload(ROOT, "a.bin", Content(cut_in(b"x" * 100, 7), None)))
    small = await provider.upload(Upload(ROOT, "b.bin", Content(cut_in(b"x" * 9, 7), None)))
    assert small.size == 9
    assert requests(box, "/files/content") == ["POST"]


@pytest.fixture
def in_parts(box: BoxAccount, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Everything above 100 bytes goes up in parts of 64; a file of ten of them and a bit."""
    box.configure(upload_session_minimum=1, upload_part_size=64)
    monkeypatch.setattr(module, "_HELD", 10)
    monkeypatch.setattr(module, "_IN_PARTS", 100)
    return bytes(range(256)) * 2 + b"the end"


async def test_a_large_file_goes_up_in_parts(box: BoxAccount, provider: Box, in_parts: bytes) -> None:
    entry = await provider.upload(Upload(ROOT, "big.bin", Content(cut_in(in_parts, 50), len(in_parts))))
    assert box.read(entry.id) == in_parts
    assert entry.raw["sha1"] == hashlib.sha1(in_parts, usedforsecurity=False).hexdigest()
    newer = in_parts[::-1]
    again = await provider.upload(
        Upload(ROOT, "big.bin", Content(cut_in(newer, 50), len(newer)), overwrite=True)
    )
    assert again.id == entry.id
    assert box.read(entry.id) == newer


@pytest.mark.parametrize("kind", ["500", "cut", "cut_midway", "429"])
async def test_a_failed_part_is_sent_again(
    box: BoxAccount, provider: Box, in_parts: bytes, kind: str
) -> None:
    wait = {"retry_after": 0} if kind == "429" else {}
    box.fault(kind, path=r"/(api|upload)/2.0/files/upload_sessions/[^/]+$", after=2, times=1, **wait)
    entry = await provider.upload(Upload(ROOT, "big.bin", Content(cut_in(in_parts, 50), len(in_parts))))
    assert box.read(entry.id) == in_parts


async def test_a_commit_that_takes_time_is_asked_for_again(
    box: BoxAccount, provider: Box, in_parts: bytes
) -> None:
    box.configure(first_commit_waits=True, commit_retry_after=0.1)
    entry = await provider.upload(Upload(ROOT, "big.bin", Content(cut_in(in_parts, 50), len(in_parts))))
    assert box.read(entry.id) == in_parts


async def test_an_upload_that_breaks_off_leaves_nothing(
    box: BoxAccount, provider: Box, in_parts: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield in_parts[:300]
        raise ConnectionResetError

    for limit in (100, 10**9):  # in parts, and streamed
        monkeypatch.setattr(module, "_IN_PARTS", limit)
        with pytest.raises(ConnectionResetError):
            await provider.upload(Upload(ROOT, "big.bin", Content(broken(), len(in_parts))))
        with pytest.raises(VendorNotFound):
            await provider.entry(Target(Kind.FILE, path="/big.bin"))
    assert box.state()["upload_sessions"] == 0


async def test_a_file_of_another_size_than_announced_leaves_nothing(
    box: BoxAccount, provider: Box, in_parts: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (100, 10**9):
        monkeypatch.setattr(module, "_IN_PARTS", limit)
        for size in (len(in_parts) - 1, len(in_parts) + 1):
            with pytest.raises(BadRequest, match="file"):
                await provider.upload(Upload(ROOT, "big.bin", Content(cut_in(in_parts, 50), size)))
    assert await provider.contents(ROOT, None, 10)
    assert not (await provider.contents(ROOT, None, 10)).entries
    assert box.state()["upload_sessions"] == 0


# Downloads


async def test_a_download_follows_to_where_the_bytes_are_without_the_token(
    box: BoxAccount, provider: Box
) -> None:
    file = box.upload("a.txt", b"0123456789")
    download = await provider.download(Target(Kind.FILE, id=file["id"]), byte_range="bytes=1-2")
    assert await download.response.aread() == b"12"
    assert "authorization" not in download.response.request.headers
    with pytest.raises(RangeNotSatisfiable):
        await provider.download(Target(Kind.FILE, id=file["id"]), byte_range="bytes=50-")


async def test_a_content_that_is_not_ready_is_asked_for_again(box: BoxAccount, provider: Box) -> None:
    file = box.upload("a.txt", b"ready")
    box.fault("202", path="/2.0/files/.*/content", retry_after=0.05)
    download = await provider.download(Target(Kind.FILE, id=file["id"]))
    assert await download.response.aread() == b"ready"


# Paths and lists


async def test_a_known_path_costs_one_request(box: BoxAccount, provider: Box) -> None:
    box.change("upload", "/a/b/c/d.txt", content="x")
    target = Target(Kind.FILE, path="/a/b/c/d.txt")
    first = await provider.entry(target)
    before = len(requests(box, "/2.0/"))
    assert await provider.entry(target) == first
    assert len(requests(box, "/2.0/")) == before + 1


async def test_a_path_through_a_folder_that_was_replaced_is_found(box: BoxAccount, provider: Box) -> None:
    box.change("upload", "/a/b/c.txt", content="old")
    old = await provider.entry(Target(Kind.FILE, path="/a/b/c.txt"))
    box.change("move", "/a/b", destination="/elsewhere")
    box.change("upload", "/a/b/c.txt", content="new")
    box.change("upload", "/a/b/other.txt", content="other")
    assert (await provider.entry(Target(Kind.FILE, path="/a/b/other.txt"))).name == "other.txt"
    assert (await provider.entry(Target(Kind.FILE, path="/a/b/c.txt"))).id != old.id
    assert (await provider.entry(Target(Kind.FILE, path="/elsewhere/c.txt"))).id == old.id


async def test_a_bookmark_is_listed_and_deleted(box: BoxAccount, provider: Box) -> None:
    box.change("web_link", "/site", content="https://example.com")
    (entry,) = (await provider.contents(ROOT, None, 10)).entries
    assert (entry.kind, entry.raw["type"]) == (Kind.FILE, "web_link")
    await provider.delete(entry, empty_trash=False)
    assert not (await provider.contents(ROOT, None, 10)).entries


async def test_emptying_the_trash_leaves_nothing_to_restore(box: BoxAccount, provider: Box) -> None:
    for name, empty, left in (("a.txt", True, 0), ("b.txt", False, 1)):
        entry = await upload(provider, name, b"x")
        await provider.delete(entry, empty_trash=empty)
        assert len(box.get("/folders/trash/items")["entries"]) == left


async def test_custom_fields_are_set_changed_and_removed(box: BoxAccount, provider: Box) -> None:
    entry = await upload(provider, "a.txt", b"x")
    first = await provider.set_custom_fields(entry, "properties", None, {"customer": "ACME", "size": "L"})
    assert (first.template, first.scope) == ("properties", "global")
    await provider.set_custom_fields(entry, "properties", "global", {"size": "XL"})
    (values,) = await provider.custom_fields(entry)
    assert values.values == {"customer": "ACME", "size": "XL"}
    await provider.remove_custom_fields(entry, "properties", None)
    assert await provider.custom_fields(entry) == []


async def test_a_locked_file_refuses_others(box: BoxAccount, provider: Box) -> None:
    file = box.upload("a.txt", b"x")
    box.change("lock", "/a.txt", user="bob")
    with pytest.raises(VendorForbidden) as refused:
        await provider.describe(
            await provider.entry(Target(Kind.FILE, id=file["id"])), description="x", tags=None
        )
    assert refused.value.request_id


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, VendorRefused),
        (401, VendorUnauthorized),
        (403, VendorForbidden),
        (404, VendorNotFound),
        (405, VendorNotFound),
        (409, Conflict),
        (412, VendorRefused),
        (429, VendorThrottled),
        (500, VendorUnavailable),
        (503, VendorUnavailable),
        (302, VendorUnavailable),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[Exception]) -> None:
    body = {"code": "c", "message": "said so", "request_id": "r-1"}
    error = Box.refusal(Refusal(status, {"retry-after": "7"}, orjson.dumps(body)))
    assert isinstance(error, kind)
    assert isinstance(error, VendorError)
    assert (error.provider_message, error.request_id, error.retry_after) == ("said so", "r-1", 7)


@given(st.integers(300, 599), st.binary(max_size=80))
def test_no_refusal_is_too_strange(status: int, body: bytes) -> None:
    assert isinstance(Box.refusal(Refusal(status, {}, body)), VendorError | RangeNotSatisfiable)


# Changes


async def changes(provider: Box, cursor: str) -> list[tuple[str, str, str | None]]:
    found = []
    while True:
        page = await provider.changes(cursor, 500)
        found += [(change.event_type, change.change, change.path) for change in page.changes]
        if not page.more:
            return found
        cursor = page.cursor


async def test_what_happens_at_box_is_told(box: BoxAccount, provider: Box) -> None:
    start = (await provider.changes(NEWEST, 1)).cursor
    box.change("folder", "/f")
    box.change("upload", "/f/a.txt", content="1")
    box.change("upload", "/f/a.txt", content="2")
    box.change("rename", "/f/a.txt", destination="b.txt")
    box.change("move", "/f/b.txt", destination="/b.txt")
    box.change("copy", "/b.txt", destination="/c.txt")
    box.change("comment", "/b.txt", content="look")
    box.change("share", "/b.txt")
    box.change("lock", "/b.txt")
    box.change("download", "/b.txt")
    box.change("delete", "/c.txt")
    box.change("restore", "/c.txt")
    assert await changes(provider, start) == [
        ("CREATED", "create", "/f"),
        ("CREATED", "upload", "/f/a.txt"),
        ("UPDATED", "version", "/f/a.txt"),
        ("UPDATED", "rename", "/f/b.txt"),
        ("UPDATED", "move", "/b.txt"),
        ("CREATED", "copy", "/c.txt"),
        ("UPDATED", "comment", None),  # Box does not say where the file lies
        ("UPDATED", "share", "/b.txt"),
        ("UPDATED", "lock", "/b.txt"),
        ("DELETED", "trash", "/c.txt"),
        ("CREATED", "restore", "/c.txt"),
    ]


async def test_a_short_page_is_no_end(box: BoxAccount, provider: Box) -> None:
    start = (await provider.changes(NEWEST, 1)).cursor
    box.configure(short_pages=2, stream_position="integer")
    box.change("upload", "/{n}.txt", count=5)
    assert len(await changes(provider, start)) == 5


@pytest.mark.parametrize("kind", ["duplicate_events", "reorder_events"])
async def test_duplicates_and_disorder_lose_nothing(box: BoxAccount, provider: Box, kind: str) -> None:
    start = (await provider.changes(NEWEST, 1)).cursor
    box.change("upload", "/{n}.txt", count=6)
    box.fault(kind, times=2)
    page = await provider.changes(start, 500)
    ids = [change.event_id for change in page.changes]
    assert len(ids) == len(set(ids)) == 6


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["source", "item", "id", "type", "event_type", "created_by", "path_collection"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, dict))
)
def test_any_event_can_be_told(event: dict[str, Any]) -> None:
    change = meaning.told(event, meaning.meaning_of(str(event.get("event_type"))), "e-1")
    assert change.event_id
    assert change.object_id
    assert change.event_type in {"CREATED", "UPDATED", "DELETED", "UNKNOWN"}
    assert change.date <= datetime.now(UTC) + timedelta(days=40_000)


async def test_a_restricted_link_is_never_opened_to_the_world(box: BoxAccount, provider: Box) -> None:
    file = box.upload("a.txt")
    box.put(f"/files/{file['id']}", {"shared_link": {"access": "company"}})
    entry = await provider.entry(Target(Kind.FILE, id=file["id"]))
    for expires_at in (None, datetime.now(UTC) + timedelta(days=1)):
        with pytest.raises(VendorForbidden):
            await provider.link(entry, expires_at)
    await provider.unlink(entry)
    assert box.get(f"/files/{file['id']}")["shared_link"]["access"] == "company"


async def test_a_folder_is_found_in_another_case_where_box_knows_no_other(
    box: BoxAccount, provider: Box
) -> None:
    box.change("folder", "/Docs")
    entry = await provider.upload(Upload(Target(Kind.FOLDER, path="/docs"), "a.txt", of_bytes(b"x")))
    assert entry.path == "/Docs/a.txt"


async def test_a_commit_whose_answer_was_lost_has_happened(
    box: BoxAccount, provider: Box, in_parts: bytes
) -> None:
    box.fault("cut_midway", path=r"/(api|upload)/2.0/files/upload_sessions/.*/commit")
    entry = await provider.upload(Upload(ROOT, "big.bin", Content(cut_in(in_parts, 50), len(in_parts))))
    assert box.read(entry.id) == in_parts
