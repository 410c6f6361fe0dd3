"""Every clause of `/files`, `/folders`, `/search` and what is beside them, for every provider, over its
sandbox twin, through the gateway's own surface. A provider takes part by existing."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from gateway import Gateway
from twins import Twin, twin_of

from app import registry
from app.hubs.documents import Power
from app.registry import Provider

PROVIDERS = registry.discover({}).providers

NAMES = {
    "spaces": "two  words and one.txt",
    "percent": "100%25 of %2F it.txt",
    "plus": "a+b.txt",
    "hash": "c#sharp.txt",
    "question": "what?.txt",
    "ampersand": "this & that.txt",
    "equals": "a=b;c.txt",
    "quotes": "'single' and \"double\".txt",
    "brackets": "[1] {2} (3).txt",
    "emoji": "rocket 🚀.txt",
    "composed": unicodedata.normalize("NFC", "Füße é.txt"),
    "decomposed": unicodedata.normalize("NFD", "Füße é.txt"),
    "japanese": "日本語.txt",
    "leading dot": ".hidden",
    "no extension": "README",
    "long": "x" * 251 + ".txt",
}


@dataclass(frozen=True)
class Account:
    """A connected account, and the hub's surface in its name."""

    provider: Provider
    twin: Twin
    gateway: Gateway
    sandbox: httpx.Client
    headers: dict[str, str]

    def at(self, path: str) -> str:
        """A path in the folder in which this account may make files."""
        return f"{self.twin.home}{path}"

    async def ask(self, method: str, url: str, status: int = 200, /, **request: Any) -> httpx.Response:
        request["headers"] = {**self.headers, **request.get("headers", {})}
        answer = await self.gateway.http.request(method, url, **request)
        assert answer.status_code == status, f"{method} {url}: {answer.status_code} {answer.text[:500]}"
        return answer

    async def get(self, url: str, **parameters: Any) -> Any:
        return (await self.ask("GET", url, params=parameters)).json()

    async def upload(self, path: str, data: bytes = b"hello", status: int = 200, /, **parameters: Any) -> Any:
        answer = await self.ask(
            "POST",
            "/files",
            status,
            params={"path": self.at(path), **parameters},
            files={"file": ("ignored.bin", data)},
        )
        return answer.json()

    async def content(self, path: str) -> bytes:
        return (await self.ask("GET", "/files", params={"path": self.at(path)})).content

    async def names(self, path: str, **parameters: Any) -> list[str]:
        found = await self.get("/folders/contents", path=self.at(path) or "/", **parameters)
        return [row["name"] for row in found]

    def can(self, power: Power) -> bool:
        return power in self.provider.powers


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.key)
async def account(request: pytest.FixtureRequest, gateway: Gateway, sandbox: httpx.Client) -> Account:
    provider: Provider = request.param
    instance = await gateway.connect(provider.key)
    return Account(provider, twin_of(provider.key), gateway, sandbox, gateway.hub(instance["token"]))


def needs(account: Account, power: Power) -> None:
    """Skips what this provider says that it cannot do; that it then says so is a clause of its own."""
    if not account.can(power):
        pytest.skip(f"{account.provider.key} does not support {power}")


# Files


async def test_an_uploaded_file_comes_back_as_it_went(account: Account) -> None:
    made = await account.upload("/docs/a.txt", b"one")
    assert (made["name"], made["path"], made["size"]) == ("a.txt", account.at("/docs/a.txt"), 3)
    assert made["directory"] is False
    assert isinstance(made["id"], str)
    assert made["tags"] == []
    assert made["properties"]["mimeType"] == "text/plain"
    assert made["createdDate"].endswith("Z")
    assert len(made["modifiedDate"]) == len("2026-01-05T10:00:00Z")
    assert await account.content("/docs/a.txt") == b"one"
    assert (await account.ask("GET", f"/files/{made['id']}")).content == b"one"


async def test_metadata_is_the_same_by_path_and_by_id(account: Account) -> None:
    made = await account.upload("/docs/a.txt")
    by_path = await account.get("/files/metadata", path=made["path"])
    assert by_path == await account.get(f"/files/{made['id']}/metadata")
    assert by_path["id"] == made["id"]
    folder = await account.get("/folders/metadata", path=account.at("/docs"))
    assert by_path["parentFolderId"] == folder["id"]
    assert folder == await account.get(f"/folders/{folder['id']}/metadata")


async def test_a_download_says_what_it_is(account: Account) -> None:
    made = await account.upload("/Bericht für 100%.txt", b"0123456789")
    for url, parameters in ((f"/files/{made['id']}", {}), ("/files", {"path": made["path"]})):
        answer = await account.ask("GET", url, params=parameters)
        assert answer.headers["content-length"] == "10"
        assert "filename*=UTF-8''Bericht%20f%C3%BCr%20100%25.txt" in answer.headers["content-disposition"]
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-type"]


async def test_a_part_of_a_file_is_downloaded(account: Account) -> None:
    made = await account.upload("/a.txt", b"0123456789")
    answer = await account.ask("GET", f"/files/{made['id']}", 206, headers={"Range": "bytes=2-5"})
    assert answer.content == b"2345"
    assert answer.headers["content-range"] == "bytes 2-5/10"
    whole = await account.ask(
        "GET", f"/files/{made['id']}", headers={"Range": "bytes=2-5", "If-Range": '"another"'}
    )
    assert whole.content == b"0123456789"
    beyond = await account.ask("GET", f"/files/{made['id']}", 416, headers={"Range": "bytes=99-"})
    assert beyond.json()["message"]


async def test_an_empty_file_is_a_file(account: Account) -> None:
    made = await account.upload("/empty.txt", b"")
    assert made["size"] == 0
    assert await account.content("/empty.txt") == b""


async def test_an_existing_file_is_not_overwritten(account: Account) -> None:
    await account.upload("/a.txt", b"first")
    refused = await account.upload("/a.txt", b"second", 409)
    assert refused["message"]
    assert await account.content("/a.txt") == b"first"


async def test_an_existing_file_gets_a_version_where_that_is_wanted(account: Account) -> None:
    made = await account.upload("/a.txt", b"first")
    again = await account.upload("/a.txt", b"second", overwrite="True")
    assert again["id"] == made["id"]
    assert await account.content("/a.txt") == b"second"


async def test_a_form_may_end_in_any_way_and_go_on_after_the_file(account: Account) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhello'
    more = b'\r\n--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny'
    for number, body in enumerate((head + b"\r\n--b--", head + more + b"\r\n--b--\r\n")):
        await account.ask(
            "POST",
            "/files",
            params={"path": account.at(f"/{number}.txt")},
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert await account.content(f"/{number}.txt") == b"hello"


async def test_an_upload_without_a_form_is_an_unsupported_media_type(account: Account) -> None:
    await account.ask("POST", "/files", 415, params={"path": account.at("/a.txt")}, content=b"x")
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    await account.ask(
        "POST", "/files", 400, params={"path": account.at("/a.txt")}, content=b"--b\r\n", headers=broken
    )


async def test_a_folder_is_not_overwritten_by_a_file(account: Account) -> None:
    await account.ask("POST", "/folders", json={"path": account.at("/taken")})
    answer = await account.gateway.http.post(
        "/files",
        params={"path": account.at("/taken"), "overwrite": "true"},
        files={"file": ("x", b"x")},
        headers=account.headers,
    )
    assert 400 <= answer.status_code < 500
    assert await account.names("/taken") == []


async def test_a_file_is_uploaded_into_a_folder_by_its_id(account: Account) -> None:
    folder = (await account.ask("POST", "/folders", json={"path": account.at("/into")})).json()
    answer = await account.ask(
        "POST", "/files", params={"folderId": folder["id"]}, files={"file": ("named.txt", b"x")}
    )
    assert answer.json()["path"] == account.at("/into/named.txt")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_any_name_makes_the_round_trip(account: Account, name: str) -> None:
    made = await account.upload(f"/{name}", name.encode())
    assert made["name"] == name
    assert await account.content(f"/{name}") == name.encode()
    assert (await account.get("/files/metadata", path=account.at(f"/{name}")))["id"] == made["id"]
    assert name in await account.names("")
    await account.ask("POST", "/folders", json={"path": account.at(f"/in/{name}")})
    await account.upload(f"/in/{name}/{name}", b"deep")
    assert await account.content(f"/in/{name}/{name}") == b"deep"
    await account.ask("DELETE", "/files", params={"path": account.at(f"/{name}")})
    await account.ask("GET", f"/files/{quote(made['id'], safe='')}/metadata", 404)


@pytest.mark.parametrize("path", ["relative.txt", "/a/../b.txt", "/./b.txt", "/..", "/a\0b", "/a\nb"])
async def test_a_path_that_is_none_is_refused(account: Account, path: str) -> None:
    for method, url in (("GET", "/files/metadata"), ("DELETE", "/folders"), ("GET", "/folders/contents")):
        answer = await account.ask(method, url, 400, params={"path": path})
        assert "path" in answer.json()["message"]
    refused = await account.ask("POST", "/files", 400, params={"path": path}, files={"file": ("x", b"x")})
    assert "path" in refused.json()["message"]


async def test_what_is_not_there_is_not_found(account: Account) -> None:
    await account.upload("/there.txt")
    for method, url in (
        ("GET", "/files"),
        ("GET", "/files/metadata"),
        ("DELETE", "/files"),
        ("GET", "/files/links"),
        ("GET", "/folders/metadata"),
        ("GET", "/folders/contents"),
        ("DELETE", "/folders"),
    ):
        answer = await account.ask(method, url, 404, params={"path": account.at("/nowhere")})
        assert set(answer.json()) >= {"requestId", "message"}
    await account.ask("GET", "/files/metadata", 404, params={"path": account.at("/there.txt/below")})
    await account.ask("GET", "/folders/metadata", 404, params={"path": account.at("/there.txt")})
    await account.ask("GET", "/files/metadata", 404, params={"path": "/"})


async def test_a_file_is_moved_and_renamed(account: Account) -> None:
    made = await account.upload("/a.txt")
    moved = (
        await account.ask(
            "PATCH", f"/files/{made['id']}/metadata", json={**made, "path": account.at("/new/place/b.txt")}
        )
    ).json()
    assert (moved["id"], moved["path"]) == (made["id"], account.at("/new/place/b.txt"))
    renamed = (
        await account.ask(
            "PATCH", "/files/metadata", params={"path": moved["path"]}, json={"name": "c d.txt"}
        )
    ).json()
    assert (renamed["id"], renamed["name"]) == (made["id"], "c d.txt")
    await account.ask("GET", "/files/metadata", 404, params={"path": account.at("/a.txt")})
    assert await account.content("/new/place/c d.txt") == b"hello"


async def test_a_body_sent_back_unchanged_changes_nothing(account: Account) -> None:
    made = await account.upload("/a.txt")
    again = (await account.ask("PATCH", f"/files/{made['id']}/metadata", json=made)).json()
    assert again == made


async def test_a_move_onto_an_existing_file_is_a_conflict(account: Account) -> None:
    made = await account.upload("/a.txt", b"a")
    await account.upload("/b.txt", b"b")
    await account.ask("PATCH", f"/files/{made['id']}/metadata", 409, json={"path": account.at("/b.txt")})
    assert (await account.content("/a.txt"), await account.content("/b.txt")) == (b"a", b"b")


async def test_a_file_is_copied(account: Account) -> None:
    made = await account.upload("/a.txt", b"a")
    copy = (
        await account.ask("POST", f"/files/{made['id']}/copy", json={"path": account.at("/to/b.txt")})
    ).json()
    assert copy["id"] != made["id"]
    assert copy["path"] == account.at("/to/b.txt")
    assert await account.content("/to/b.txt") == b"a"
    assert await account.content("/a.txt") == b"a"


async def test_a_copy_overwrites_only_where_that_is_wanted(account: Account) -> None:
    await account.upload("/a.txt", b"new")
    target = await account.upload("/b.txt", b"old")
    order = {"params": {"path": account.at("/a.txt")}, "json": {"path": account.at("/b.txt")}}
    await account.ask("POST", "/files/copy", 409, **order)
    assert await account.content("/b.txt") == b"old"
    order["params"]["overwrite"] = "true"
    assert (await account.ask("POST", "/files/copy", **order)).json()["id"] == target["id"]
    assert await account.content("/b.txt") == b"new"


async def test_a_deleted_file_is_gone(account: Account) -> None:
    by_id, by_path = await account.upload("/a.txt"), await account.upload("/b.txt")
    await account.ask("DELETE", f"/files/{by_id['id']}", params={"emptyTrash": "False"})
    await account.ask("DELETE", "/files", params={"path": by_path["path"]})
    for item in (by_id, by_path):
        await account.ask("GET", f"/files/{item['id']}/metadata", 404)
        await account.ask("DELETE", f"/files/{item['id']}", 404)


async def test_a_path_leads_to_what_lies_there_now(account: Account) -> None:
    """Whatever was found at a path before: a wrong item is never answered."""
    first = await account.upload("/f/x.txt", b"first")
    assert await account.content("/f/x.txt") == b"first"
    await account.ask("PATCH", f"/files/{first['id']}/metadata", json={"path": account.at("/f/y.txt")})
    second = await account.upload("/f/x.txt", b"second")
    assert await account.content("/f/x.txt") == b"second"
    assert await account.content("/f/y.txt") == b"first"
    folder = await account.get("/folders/metadata", path=account.at("/f"))
    await account.ask("PATCH", f"/folders/{folder['id']}/metadata", json={"path": account.at("/g")})
    await account.ask("GET", "/files/metadata", 404, params={"path": account.at("/f/x.txt")})
    await account.upload("/f/x.txt", b"third")
    assert await account.content("/f/x.txt") == b"third"
    assert (await account.get("/files/metadata", path=account.at("/g/x.txt")))["id"] == second["id"]


# Folders


async def test_a_folder_is_made_with_those_above_it(account: Account) -> None:
    made = (await account.ask("POST", "/folders", json={"path": account.at("/a/b/c")})).json()
    assert (made["directory"], made["name"], made["path"]) == (True, "c", account.at("/a/b/c"))
    assert made["properties"] == {}
    assert await account.names("/a") == ["b"]
    again = await account.ask("POST", "/folders", 409, json={"path": account.at("/a/b/c")})
    assert again.json()["message"]


async def test_the_root_is_a_folder(account: Account) -> None:
    root = await account.get("/folders/metadata", path="/")
    assert (root["path"], root["directory"]) == ("/", True)
    found = await account.get("/folders/contents", path="/")
    assert found == await account.get(f"/folders/{root['id']}/contents")


async def test_contents_are_listed_by_path_and_by_id(account: Account) -> None:
    await account.upload("/f/a.txt")
    await account.ask("POST", "/folders", json={"path": account.at("/f/sub")})
    folder = await account.get("/folders/metadata", path=account.at("/f"))
    rows = await account.get(f"/folders/{folder['id']}/contents")
    assert rows == await account.get("/folders/contents", path=account.at("/f"))
    assert {(row["name"], row["directory"]) for row in rows} == {("a.txt", False), ("sub", True)}
    assert all(row["path"] == account.at(f"/f/{row['name']}") for row in rows)


async def test_a_folder_is_copied_with_all_that_is_in_it(account: Account) -> None:
    await account.upload("/f/sub/a.txt", b"deep")
    order = {"params": {"path": account.at("/f")}, "json": {"path": account.at("/to/g")}}
    copy = (await account.ask("POST", "/folders/copy", **order)).json()
    assert (copy["path"], copy["directory"]) == (account.at("/to/g"), True)
    assert await account.content("/to/g/sub/a.txt") == b"deep"
    await account.ask("POST", "/folders/copy", 409, **order)


async def test_a_folder_is_renamed(account: Account) -> None:
    await account.upload("/f/a.txt")
    await account.ask("PATCH", "/folders/metadata", params={"path": account.at("/f")}, json={"name": "g"})
    assert await account.content("/g/a.txt") == b"hello"


async def test_a_deleted_folder_takes_everything_with_it(account: Account) -> None:
    file = await account.upload("/f/sub/a.txt")
    await account.ask("DELETE", "/folders", params={"path": account.at("/f")})
    await account.ask("GET", f"/files/{file['id']}/metadata", 404)
    await account.ask("GET", "/folders/contents", 404, params={"path": account.at("/f")})


# Lists


async def fill(account: Account, folder: str = "/list") -> list[str]:
    """Five files and two folders of different names, sizes and extensions."""
    for size, name in enumerate(("c.txt", "a.pdf", "B.txt", "e.csv", "d.txt"), start=1):
        await account.upload(f"{folder}/{name}", b"x" * size)
    for name in ("z-folder", "a-folder"):
        await account.ask("POST", "/folders", json={"path": account.at(f"{folder}/{name}")})
    return ["a-folder", "z-folder", "a.pdf", "B.txt", "c.txt", "d.txt", "e.csv"]


async def test_pages_by_number_make_up_the_whole(account: Account) -> None:
    names = await fill(account)
    pages = [await account.names("/list", page=page, pageSize=3) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert sorted(name for page in pages for name in page) == sorted(names)
    assert pages[0] + pages[1] == await account.names("/list", pageSize=6)


async def test_pages_by_token_make_up_the_whole(account: Account) -> None:
    names = await fill(account)
    url, token, found = "/folders/contents", "", []
    for _ in range(10):
        answer = await account.ask(
            "GET", url, params={"path": account.at("/list"), "pageSize": 2, "nextPage": token, "page": 1}
        )
        found += [row["name"] for row in answer.json()]
        assert answer.headers["Elements-Returned-Count"] == str(len(answer.json()))
        token = answer.headers.get("Elements-Next-Page-Token", "")
        if not token:
            break
    assert sorted(found) == sorted(names)
    assert found == await account.names("/list")


async def test_the_page_size_may_change_from_page_to_page(account: Account) -> None:
    await fill(account)
    found, token = [], ""
    for size in (3, 1, 2, 5):
        answer = await account.ask(
            "GET",
            "/folders/contents",
            params={"path": account.at("/list"), "pageSize": size, "nextPage": token},
        )
        found += [row["name"] for row in answer.json()]
        token = answer.headers.get("Elements-Next-Page-Token", "")
    assert (found, token) == (await account.names("/list"), "")


async def test_a_token_of_another_list_is_refused(account: Account) -> None:
    await fill(account)
    first = await account.ask("GET", "/folders/contents", params={"path": account.at("/list"), "pageSize": 2})
    token = first.headers["Elements-Next-Page-Token"]
    for parameters in (
        {"path": account.at("/list"), "nextPage": "nonsense"},
        {"path": account.at("/list"), "nextPage": token, "where": "size > 1"},
        {"path": account.at("/list/a-folder"), "nextPage": token},
    ):
        refused = await account.ask("GET", "/folders/contents", 400, params=parameters)
        assert "nextPage" in refused.json()["message"]


async def test_a_huge_page_is_cut_and_says_so(account: Account) -> None:
    await account.upload("/list/a.txt")
    answer = await account.ask(
        "GET", "/folders/contents", params={"path": account.at("/list"), "pageSize": 2147483647, "page": 1}
    )
    assert "pageSize" in answer.headers["Elements-Error"]
    assert len(answer.json()) == 1


async def test_everything_is_counted_where_that_is_wanted(account: Account) -> None:
    names = await fill(account)
    answer = await account.ask(
        "GET",
        "/folders/contents",
        params={"path": account.at("/list"), "pageSize": 2, "returnTotalCount": "true"},
    )
    assert answer.headers["Elements-Total-Count"] == str(len(names))
    assert len(answer.json()) == 2
    assert answer.headers["Elements-Next-Page-Token"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("name = 'c.txt'", ["c.txt"]),
        ("name like '%.txt'", ["B.txt", "c.txt", "d.txt"]),
        ("name IN ('a.pdf', 'e.csv')", ["a.pdf", "e.csv"]),
        ("extension = '.txt'", ["B.txt", "c.txt", "d.txt"]),
        ("extension = 'txt' AND size > 3", ["d.txt"]),
        ("mimeType='text/plain' and size<=1", ["c.txt"]),
        ("directory = 'true'", ["a-folder", "z-folder"]),
        ("directory='False' and (size < 2 or size >= 5)", ["c.txt", "d.txt"]),
        ("directory = false and `name` != 'd.txt' and size > 3", ["e.csv"]),
        ("extension IS NULL", ["a-folder", "z-folder"]),
        ("modifiedDate > '2020-01-01T00:00:00Z' and extension = 'csv'", ["e.csv"]),
        ("modifiedDate < '2020-01-01T00:00:00Z'", []),
    ],
)
async def test_a_list_is_filtered(account: Account, where: str, expected: list[str]) -> None:
    await fill(account)
    assert sorted(await account.names("/list", where=where)) == sorted(expected)
    tokens = await account.ask(
        "GET", "/folders/contents", params={"path": account.at("/list"), "where": where, "pageSize": 1}
    )
    assert len(tokens.json()) == min(1, len(expected))


@pytest.mark.parametrize(
    "where",
    ["name =", "nonsense = 1", "createdDate > 'x'", "size = 'x'", "name = 'a' OR", "((((", "a" * 5000],
)
async def test_a_malformed_filter_is_refused(account: Account, where: str) -> None:
    answer = await account.ask(
        "GET", "/folders/contents", 400, params={"path": account.twin.home or "/", "where": where}
    )
    assert "where" in answer.json()["message"]


async def test_a_list_is_ordered(account: Account) -> None:
    names = await fill(account)
    assert await account.names("/list", orderBy="name") == sorted(names, key=str.casefold)
    assert await account.names("/list", orderBy="name desc") == sorted(names, key=str.casefold)[::-1]
    files = "directory = 'false'"
    assert await account.names("/list", orderBy="size desc", where=files) == [
        "d.txt", "e.csv", "B.txt", "a.pdf", "c.txt"
    ]  # fmt: skip
    assert await account.names("/list", orderBy="name", where=files, pageSize=2, page=2) == ["c.txt", "d.txt"]
    refused = await account.ask(
        "GET", "/folders/contents", 400, params={"path": account.at("/list"), "orderBy": "colour"}
    )
    assert "orderBy" in refused.json()["message"]


@pytest.mark.parametrize(
    "parameters", [{"orderBy": "size"}, {"orderBy": "name", "where": "directory='false'"}]
)
async def test_an_ordered_list_is_paged_by_token(account: Account, parameters: dict[str, str]) -> None:
    await fill(account)
    whole = await account.names("/list", **parameters)
    found, token = [], ""
    while True:
        answer = await account.ask(
            "GET",
            "/folders/contents",
            params={"path": account.at("/list"), "pageSize": 2, "nextPage": token, **parameters},
        )
        found += [row["name"] for row in answer.json()]
        token = answer.headers.get("Elements-Next-Page-Token", "")
        if not token:
            break
    assert found == whole


async def test_fields_and_raw_are_chosen(account: Account) -> None:
    made = await account.upload("/a.txt")
    chosen = await account.get(f"/files/{made['id']}/metadata", fields="id,properties.mimeType")
    assert chosen == {"id": made["id"], "properties": {"mimeType": "text/plain"}}
    assert "raw" not in made
    assert (await account.get(f"/files/{made['id']}/metadata", raw="True"))["raw"]
    assert await account.get(f"/files/{made['id']}/metadata", isoDates="true") == made
    rows = await account.get(
        "/folders/contents", path=account.twin.home or "/", raw="true", fields="raw,name"
    )
    assert all(set(row) == {"raw", "name"} for row in rows)


async def test_nulls_are_left_out_unless_they_are_wanted(account: Account) -> None:
    made = await account.upload("/a.txt")
    assert None not in made.values()
    talkative = await account.gateway.connect(account.provider.key, **{"filter.response.nulls": "false"})
    answer = await account.gateway.http.get(
        f"/files/{made['id']}/metadata", headers=account.gateway.hub(talkative["token"])
    )
    assert set(answer.json()) >= {"description", "size", "createdDate"}


# Search


async def test_search_finds_parts_of_names_at_any_depth(account: Account) -> None:
    needs(account, Power.SEARCH)
    await account.upload("/s/Quarterly Report.pdf")
    await account.upload("/s/deep/er/my report draft.txt")
    await account.upload("/s/deep/other.txt")
    await account.ask("POST", "/folders", json={"path": account.at("/s/reports")})
    found = await account.get("/search", text="report", path=account.at("/s"))
    assert sorted(row["name"] for row in found) == ["Quarterly Report.pdf", "my report draft.txt", "reports"]
    assert all(row["path"].startswith(account.at("/s/")) for row in found)
    assert await account.get("/search", text="no such name") == []


async def test_search_without_a_text_lists_everything_below(account: Account) -> None:
    needs(account, Power.SEARCH)
    await account.upload("/s/a.txt")
    await account.upload("/s/deep/er/b.txt")
    found = await account.get("/search", path=account.at("/s"))
    assert sorted(row["name"] for row in found) == ["a.txt", "b.txt", "deep", "er"]
    everything = await account.get("/search")
    assert {row["path"] for row in found} <= {row["path"] for row in everything}


async def test_search_is_paged_and_filtered(account: Account) -> None:
    needs(account, Power.SEARCH)
    for number in range(7):
        await account.upload(f"/s/{number % 3}/match {number}.txt", b"x" * number)
    for text in ("match", ""):
        whole = await account.get("/search", text=text, path=account.at("/s"), where="directory='false'")
        assert len(whole) == 7
        parts: list[Any] = []
        for page in (1, 2, 3, 4):
            parts += await account.get(
                "/search", text=text, path=account.at("/s"), where="directory='false'", pageSize=2, page=page
            )
        assert parts == whole
        found, token = [], ""
        while True:
            answer = await account.ask(
                "GET",
                "/search",
                params={
                    "text": text,
                    "path": account.at("/s"),
                    "where": "directory='false'",
                    "pageSize": 3,
                    "nextPage": token,
                },
            )
            found += answer.json()
            token = answer.headers.get("Elements-Next-Page-Token", "")
            if not token:
                break
        assert found == whole
        large = await account.get("/search", text=text, path=account.at("/s"), where="size >= 5")
        assert sorted(row["size"] for row in large if not row["directory"]) == [5, 6]


async def test_search_by_date_needs_both_ends(account: Account) -> None:
    needs(account, Power.SEARCH)
    await account.upload("/s/today.txt")
    place = account.at("/s")
    today = {"text": "today", "path": place, "startDate": "2020-01-01", "endDate": "2999-01-01"}
    assert [row["name"] for row in await account.get("/search", **today)] == ["today.txt"]
    assert await account.get("/search", **{**today, "endDate": "2020-02-01"}) == []
    for wrong in ({"startDate": "2020-01-01"}, {"endDate": "2020-01-01"}, {"startDate": "x", "endDate": "y"}):
        answer = await account.ask("GET", "/search", 400, params=wrong)
        assert "Date" in answer.json()["message"]


# What belongs to files


async def test_links_work_without_credentials_until_they_are_revoked(account: Account) -> None:
    made = await account.upload("/shared file.txt", b"for everybody")
    link = await account.get(f"/files/{made['id']}/links")
    assert link["expires"]
    opened = await account.gateway.http.get(link["cloudElementsLink"])
    assert (opened.status_code, opened.content) == (200, b"for everybody")
    assert "shared%20file.txt" in opened.headers["content-disposition"]
    part = await account.gateway.http.get(link["cloudElementsLink"], headers={"Range": "bytes=0-2"})
    assert (part.status_code, part.content) == (206, b"for")
    again = await account.get("/files/links", path=made["path"])
    assert again == link
    if account.can(Power.LINKS):
        assert httpx.get(link["providerLink"], follow_redirects=True).content == b"for everybody"
    await account.ask("DELETE", f"/files/{made['id']}/links")
    assert (await account.gateway.http.get(link["cloudElementsLink"])).status_code == 404
    if account.can(Power.LINKS):
        assert httpx.get(link["providerLink"], follow_redirects=True).status_code == 404
    assert (await account.get(f"/files/{made['id']}/links"))["cloudElementsLink"] != link["cloudElementsLink"]


async def test_many_who_ask_at_once_get_the_same_link(account: Account) -> None:
    made = await account.upload("/a.txt", b"x")
    answers = await asyncio.gather(*(account.get(f"/files/{made['id']}/links") for _ in range(5)))
    (url,) = {link["cloudElementsLink"] for link in answers}
    assert (await account.gateway.http.get(url)).content == b"x"


async def test_a_link_ends_when_it_was_told_to(account: Account) -> None:
    made = await account.upload("/a.txt")
    link = await account.get(f"/files/{made['id']}/links", expires="2999-01-01")
    assert link["expires"] == "2999-01-01T00:00:00Z"
    for wrong in ("2001-01-01", "tomorrow"):
        answer = await account.ask("GET", f"/files/{made['id']}/links", 400, params={"expires": wrong})
        assert answer.json()["message"] == "Invalid link expiration date."


async def test_a_folder_has_the_vendors_links(account: Account) -> None:
    needs(account, Power.LINKS)
    folder = (await account.ask("POST", "/folders", json={"path": account.at("/f")})).json()
    link = await account.get(f"/folders/{folder['id']}/links")
    assert link["providerViewLink"].startswith("http")
    assert "cloudElementsLink" not in link
    await account.ask("DELETE", "/folders/links", params={"path": account.at("/f")})


async def test_revisions_are_listed_downloaded_and_restored(account: Account) -> None:
    needs(account, Power.REVISIONS)
    made = await account.upload("/a.txt", b"first")
    await account.upload("/a.txt", b"second", overwrite="true")
    await account.upload("/a.txt", b"third", overwrite="true")
    rows = await account.get(f"/files/{made['id']}/revisions")
    assert rows == await account.get("/files/revisions", path=made["path"])
    oldest = rows[-1]
    assert (oldest["size"], oldest["fileName"]) == (5, "a.txt")
    one = await account.get(f"/files/{made['id']}/revisions/{oldest['id']}")
    assert one == oldest
    url = f"/files/{made['id']}/revisions/{oldest['id']}"
    assert (await account.ask("GET", f"{url}/content")).content == b"first"
    await account.ask("GET", f"/files/{made['id']}/revisions/0", 404)
    if account.can(Power.RESTORE):
        restored = (await account.ask("POST", f"{url}/restore")).json()
        assert restored["id"] == made["id"]
        assert await account.content("/a.txt") == b"first"
        assert len(await account.get(f"/files/{made['id']}/revisions")) == len(rows) + 1


async def test_comments_are_written_read_and_deleted(account: Account) -> None:
    needs(account, Power.COMMENTS)
    file = await account.upload("/a.txt")
    url = f"/files/{file['id']}/comments"
    assert await account.get(url) == []
    made = (await account.ask("POST", url, json={"comment": "first ünd foremost"})).json()
    await account.ask("POST", "/files/comments", params={"path": file["path"]}, json={"comment": "second"})
    assert made["comment"] == "first ünd foremost"
    assert {row["comment"] for row in await account.get(url)} == {"first ünd foremost", "second"}
    assert await account.get(f"{url}/{made['id']}") == made
    assert "raw" not in made
    assert (await account.get(f"{url}/{made['id']}", raw="true"))["raw"]
    first = await account.ask("GET", url, params={"pageSize": 1})
    rest = await account.get(url, pageSize=1, nextPage=first.headers["Elements-Next-Page-Token"])
    assert len(first.json() + rest) == 2
    assert await account.get(url, page=9) == []
    await account.ask("POST", url, 400, json={})
    if account.can(Power.EDIT_COMMENTS):
        edited = await account.ask("PATCH", f"{url}/{made['id']}", json={"comment": "better"})
        assert edited.json()["comment"] == "better"
    await account.ask("DELETE", f"{url}/{made['id']}")
    await account.ask("GET", f"{url}/{made['id']}", 404)


async def test_a_file_is_locked_and_unlocked(account: Account) -> None:
    needs(account, Power.LOCK)
    file = await account.upload("/a.txt")
    await account.ask("PUT", f"/files/{file['id']}/lock")
    await account.ask("DELETE", "/files/lock", params={"path": file["path"]})
    await account.ask("PUT", f"/files/{file['id']}/lock", json={"expires_at": "2050-01-01T00:00:00Z"})
    past = await account.ask(
        "PUT", f"/files/{file['id']}/lock", 400, json={"expires_at": "2001-01-01T00:00:00Z"}
    )
    assert "expires_at" in past.json()["message"]
    await account.ask("DELETE", f"/files/{file['id']}/lock")


async def test_tags_and_descriptions_stay_with_a_file(account: Account) -> None:
    needs(account, Power.TAGS)
    made = await account.upload("/a.txt", b"hello", 200, **{"tags[]": "one,two", "description": "what it is"})
    assert (made["tags"], made["description"]) == (["one", "two"], "what it is")
    body = {**made, "tags": ["two", "three"], "description": "something else"}
    changed = (await account.ask("PATCH", f"/files/{made['id']}/metadata", json=body)).json()
    assert (changed["tags"], changed["description"]) == (["two", "three"], "something else")
    assert [row["name"] for row in await account.get("/search", **{"tags[]": "three"})] == ["a.txt"]


async def test_properties_are_set_one_by_one(account: Account) -> None:
    needs(account, Power.PROPERTIES)
    made = await account.upload("/a.txt")
    url = f"/files/{made['id']}/metadata/properties"
    await account.ask("PATCH", url, json={"properties": {"customer": "ACME", "size": "L"}})
    changed = await account.ask(
        "PATCH",
        "/files/metadata/properties",
        params={"path": made["path"]},
        json={"properties": {"size": "XL"}},
    )
    assert changed.json()["properties"] == {"mimeType": "text/plain", "customer": "ACME", "size": "XL"}
    await account.ask("PATCH", url, 400, json={"properties": {}})


async def test_collaborations_of_a_folder_are_listed(account: Account) -> None:
    needs(account, Power.COLLABORATIONS)
    folder = (await account.ask("POST", "/folders", json={"path": account.at("/f")})).json()
    assert await account.get(f"/folders/{folder['id']}/collaborations") == []


async def test_custom_fields_have_templates(account: Account) -> None:
    needs(account, Power.CUSTOM_FIELDS)
    assert isinstance(await account.get("/custom-fields-templates"), list)
    file = await account.upload("/a.txt")
    assert await account.get(f"/files/{file['id']}/custom-fields") == []
    await account.ask("GET", f"/files/{file['id']}/custom-fields-templates/nothing/custom-fields", 404)


# The account


async def test_the_account_tells_who_and_how_much_it_is(account: Account) -> None:
    needs(account, Power.ME)
    assert {"id", "name", "login"} <= set(await account.get("/me"))
    needs(account, Power.STORAGE)
    await account.upload("/a.txt", b"x" * 1000)
    assert (await account.get("/storage"))["used"] >= 1000


async def test_the_resources_of_the_hub_are_listed(account: Account) -> None:
    names = await account.get("/objects")
    assert {"files", "folders"} <= set(names)
    helium = await account.ask("GET", "/objects", headers={"Elements-Version": "Helium"})
    assert helium.json()[0] == {"name": names[0], "vendorName": names[0], "type": "vendor"}


CALLS: dict[Power, tuple[str, str, dict[str, Any]]] = {
    Power.EMPTY_TRASH: ("DELETE", "/files/{id}", {"params": {"emptyTrash": "true"}}),
    Power.TAGS: ("PATCH", "/files/{id}/metadata", {"json": {"tags": ["a"]}}),
    Power.DESCRIPTION: ("PATCH", "/files/{id}/metadata", {"json": {"description": "a"}}),
    Power.SEARCH: ("GET", "/search", {}),
    Power.LINKS: ("GET", "/folders/{id}/links", {}),
    Power.REVISIONS: ("GET", "/files/{id}/revisions", {}),
    Power.RESTORE: ("POST", "/files/{id}/revisions/1/restore", {}),
    Power.COMMENTS: ("GET", "/files/{id}/comments", {}),
    Power.EDIT_COMMENTS: ("PATCH", "/files/{id}/comments/1", {"json": {"comment": "a"}}),
    Power.LOCK: ("PUT", "/files/{id}/lock", {}),
    Power.COLLABORATIONS: ("GET", "/folders/{id}/collaborations", {}),
    Power.CUSTOM_FIELDS: ("GET", "/files/{id}/custom-fields", {}),
    Power.REMOVE_CUSTOM_FIELDS: (
        "DELETE",
        "/files/{id}/custom-fields-templates/properties/custom-fields",
        {},
    ),
    Power.PROPERTIES: ("PATCH", "/files/{id}/metadata/properties", {"json": {"properties": {"a": "b"}}}),
    Power.ME: ("GET", "/me", {}),
    Power.STORAGE: ("GET", "/storage", {}),
}


@pytest.mark.parametrize("power", CALLS)
async def test_what_a_vendor_cannot_do_is_said_by_name(account: Account, power: Power) -> None:
    if account.can(power):
        pytest.skip(f"{account.provider.key} can do this")
    file = await account.upload("/a.txt")
    method, url, request = CALLS[power]
    answer = await account.ask(method, url.format(id=file["id"]), 405, **request)
    assert account.provider.key in answer.json()["message"]
    assert str(power) in answer.json()["message"]
    assert await account.content("/a.txt") == b"hello"


# Trouble


async def test_throttling_is_waited_out_within_the_budget(account: Account) -> None:
    made = await account.upload("/a.txt")
    account.twin.steer(account.sandbox, "faults", kind="429", times=1, retry_after=0.05)
    assert (await account.get(f"/files/{made['id']}/metadata"))["id"] == made["id"]
    account.twin.steer(account.sandbox, "faults", kind="429", times=100, retry_after=60)
    answer = await account.ask("GET", f"/files/{made['id']}/metadata", 429)
    assert answer.headers["Retry-After"] == "60"


async def test_a_failing_vendor_is_a_bad_gateway(account: Account) -> None:
    made = await account.upload("/a.txt")
    account.twin.steer(account.sandbox, "faults", kind="500", times=100)
    answer = await account.ask("GET", f"/files/{made['id']}/metadata", 502)
    assert answer.json()["message"]


async def test_an_ended_access_token_is_replaced(account: Account) -> None:
    made = await account.upload("/a.txt")
    account.twin.steer(account.sandbox, "tokens/expire", kind="access")
    assert (await account.get(f"/files/{made['id']}/metadata"))["id"] == made["id"]
    account.twin.steer(account.sandbox, "tokens/expire", kind="access")
    assert await account.content("/a.txt") == b"hello"
