"""Search in the fake Egnyte."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from acme import Acme


@pytest.fixture
def reports(acme: Acme) -> Acme:
    acme.change("upload", "/Shared/Reports/one.txt", content="the numbers of May")
    acme.change("upload", "/Shared/report.txt", content="nothing")
    acme.change("folder", "/Private/old reports")
    return acme


def search(acme: Acme, query: str, **params: Any) -> list[str]:
    answer = acme.http.get("/pubapi/v1/search", params={"query": query, **params}).raise_for_status()
    return sorted(row["path"] for row in answer.json()["results"])


def test_folders_are_found_by_name_and_files_by_text_too(reports: Acme) -> None:
    files, folders = ["/Shared/report.txt"], ["/Private/old reports", "/Shared/Reports"]
    assert search(reports, "REPORT") == sorted(files + folders)
    assert search(reports, "report", type="FILE") == files
    assert search(reports, "report", type="FOLDER") == folders
    assert search(reports, "numbers", type="ALL") == ["/Shared/Reports/one.txt"]
    assert search(reports, "report", folder="/Shared") == ["/Shared/Reports", "/Shared/report.txt"]
    assert search(reports, "rep*", folder="/Private") == ["/Private/old reports"]


def test_a_folder_is_marked_and_has_its_id(reports: Acme) -> None:
    row = reports.http.get("/pubapi/v1/search", params={"query": "old reports"}).json()["results"][0]
    folder = reports.http.get("/pubapi/v1/fs/Private/old%20reports").json()
    assert row["is_folder"] is True
    assert row["folder_id"] == row["group_id"] == folder["folder_id"]
    found = reports.http.post("/pubapi/v2/search", json={"query": "old reports", "type": "FOLDER"}).json()
    assert found["results"][0]["last_modified"] == folder["lastModified"]


def test_results_come_in_pages(reports: Acme) -> None:
    page = reports.http.get("/pubapi/v1/search", params={"query": "report", "count": 2, "offset": 2}).json()
    assert (page["count"], page["offset"], page["total_count"]) == (1, 2, 3)
    first = reports.http.post("/pubapi/v2/search", json={"query": "report", "count": 2}).json()
    assert first["hasMore"] is True


def test_results_are_limited_in_time(reports: Acme) -> None:
    headers = {"Last-Modified": "Mon, 05 Jan 2015 10:00:00 GMT"}
    reports.http.post("/pubapi/v1/fs-content/Shared/aged.txt", content=b"x", headers=headers)
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert search(reports, "aged", modified_after="2015-01-05T09:59:59.000Z") == ["/Shared/aged.txt"]
    assert search(reports, "aged", modified_after="2015-01-06") == []
    assert search(reports, "aged", modified_before="2015-01-05T11:00:00+01:00") == []
    assert len(search(reports, "report", modified_before=soon.isoformat())) == 3
    assert search(reports, "report", modified_after=soon.isoformat()) == []


@pytest.mark.parametrize(
    "params",
    [
        {"query": "ab"},
        {"query": ""},
        {"query": "x" * 101},
        {"query": "abc", "type": "LINK"},
        {"query": "abc", "modified_after": "yesterday"},
        {"query": "abc", "count": 0},
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_search_that_makes_no_sense_is_refused(acme: Acme, version: str, params: dict[str, Any]) -> None:
    url = f"/pubapi/{version}/search"
    answer = acme.http.get(url, params=params) if version == "v1" else acme.http.post(url, json=params)
    assert answer.status_code == 400
    assert list(params)[-1] in answer.json()["errorMessage"]


def test_a_short_beginning_is_enough_with_a_star(reports: Acme) -> None:
    assert search(reports, "on*", type="FILE") == ["/Shared/Reports/one.txt"]
    assert len(search(reports, "*", type="FILE")) == 2
