"""Shared links of the fake Egnyte, and what is behind them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from acme import Acme


def share(acme: Acme, path: str, kind: str = "file", **wishes: Any) -> Any:
    body = {"path": path, "type": kind, "accessibility": "anyone", **wishes}
    return acme.http.post("/pubapi/v1/links", json=body).raise_for_status().json()["links"][0]


@pytest.fixture
def files(acme: Acme) -> Acme:
    acme.change("upload", "/Shared/A/ü 1.txt", content="one")
    acme.change("upload", "/Shared/A/B/b#.txt", content="two")
    return acme


def test_a_file_is_downloaded_without_a_token(files: Acme) -> None:
    link = share(files, "/Shared/A/ü 1.txt")
    assert link["url"] == f"{files.url}/dl/{link['id']}"
    answer = httpx.get(link["url"])
    assert (answer.status_code, answer.content) == (200, b"one")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC%201.txt"
    part = httpx.get(link["url"], headers={"Range": "bytes=1-"})
    assert (part.status_code, part.content) == (206, b"ne")


def test_a_link_follows_its_file_and_shows_the_newest_content(files: Acme) -> None:
    link = share(files, "/Shared/A/ü 1.txt")
    files.change("move", "/Shared/A", destination="/Private/C")
    files.change("upload", "/Private/C/ü 1.txt", content="new")
    assert httpx.get(link["url"]).content == b"new"
    assert files.http.get(f"/pubapi/v1/links/{link['id']}").json()["path"] == "/Private/C/ü 1.txt"


def test_the_page_of_a_folder_leads_to_all_that_is_in_it(files: Acme) -> None:
    url: str = share(files, "/Shared/A", "folder")["url"]
    assert "/fl/" in url
    pages = [urljoin(url, found) for found in re.findall('href="(.*?)"', httpx.get(url).text)]
    assert len(pages) == 2
    assert httpx.get(pages[0]).content == b"one"
    inner = re.findall('href="(.*?)"', httpx.get(pages[1]).text)
    assert httpx.get(urljoin(pages[1], inner[0])).content == b"two"
    assert httpx.get(f"{url}/none").status_code == 404


def test_an_upload_link_has_a_page(files: Acme) -> None:
    assert httpx.get(share(files, "/Shared/A", "upload")["url"]).status_code == 200


def test_a_link_without_a_file_is_gone(files: Acme) -> None:
    links = [share(files, "/Shared/A/ü 1.txt") for _ in range(2)]
    assert files.http.delete(f"/pubapi/v1/links/{links[0]['id']}").status_code == 200
    assert files.http.delete(f"/pubapi/v1/links/{links[0]['id']}").status_code == 404
    assert httpx.get(links[0]["url"]).status_code == 404
    files.change("delete", "/Shared/A")
    assert httpx.get(links[1]["url"]).status_code == 404
    files.change("restore", "/Shared/A")
    assert httpx.get(links[1]["url"]).status_code == 200


def test_a_link_expires_after_its_day(files: Acme) -> None:
    today = datetime.now(UTC).date()
    past = share(files, "/Shared/A/ü 1.txt", expiry_date=f"{today - timedelta(days=1)}")
    coming = share(files, "/Shared/A/ü 1.txt", expiry_date=f"{today + timedelta(days=1)}")
    assert httpx.get(past["url"]).status_code == 404
    assert httpx.get(coming["url"]).status_code == 200


def test_a_link_expires_after_its_clicks(files: Acme) -> None:
    url = share(files, "/Shared/A/ü 1.txt", expiry_clicks=2)["url"]
    assert [httpx.get(url).status_code for _ in range(3)] == [200, 200, 404]
    folder = share(files, "/Shared/A", "folder", expiry_clicks=1)["url"]
    assert httpx.get(folder).status_code == 200
    assert httpx.get(f"{folder}/B/b%23.txt").content == b"two"
    assert httpx.get(folder).status_code == 404


def test_links_are_filtered(files: Acme) -> None:
    file, folder = share(files, "/Shared/A/ü 1.txt"), share(files, "/Shared/A", "folder")
    listed = files.http.get("/pubapi/v1/links", params={"type": "Folder"}).json()
    assert listed == {"ids": [folder["id"]], "offset": 0, "count": 1, "total_count": 1}
    full = files.http.get("/pubapi/v2/links", params={"path": "/Shared/A/ü 1.txt/"}).json()
    assert full["total_count"] == 1
    row = full["links"][0]
    assert (row["id"], row["url"], row["type"]) == (file["id"], file["url"], "file")
    assert (row["accessibility"], row["created_by"]) == ("anyone", "jsmith")
    page = files.http.get("/pubapi/v2/links", params={"offset": 1, "count": 1}).json()
    assert ([link["id"] for link in page["links"]], page["total_count"]) == ([folder["id"]], 2)


@pytest.mark.parametrize(
    "wishes",
    [
        {"type": "folder"},
        {"expiry_clicks": 11},
        {"expiry_date": "soon"},
        {"expiry_date": "2999-01-01", "expiry_clicks": 1},
    ],
)
def test_a_link_that_makes_no_sense_is_refused(files: Acme, wishes: dict[str, Any]) -> None:
    body = {"path": "/Shared/A/ü 1.txt", "type": "file", **wishes}
    assert files.http.post("/pubapi/v1/links", json=body).status_code == 400
