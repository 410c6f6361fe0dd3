"""Custom metadata, folder statistics and listings of the fake Egnyte."""

from typing import Any

import httpx
import pytest
from acme import Acme

NAMESPACE: dict[str, Any] = {
    "name": "contract",
    "scope": "public",
    "keys": {
        "party": {"type": "string", "displayName": "Other party"},
        "pages": {"type": "integer"},
        "price": {"type": "decimal"},
        "signed": {"type": "date"},
        "state": {"type": "enum", "data": ["draft", "final"]},
    },
}
GOOD = {"party": "Ünï & co", "pages": 3, "price": 1.5, "signed": "2026-01-05", "state": "final"}


def look(acme: Acme, path: str, **params: Any) -> Any:
    return acme.http.get(f"/pubapi/v1/fs{path}", params=params).json()


@pytest.fixture
def contract(acme: Acme) -> str:
    """The place of the values of a file."""
    made = acme.http.post("/pubapi/v1/properties/namespace", json=NAMESPACE)
    assert (made.status_code, made.json()) == (201, NAMESPACE)
    acme.change("upload", "/Shared/A/a.txt", content="x")
    return f"/pubapi/v1/fs/ids/file/{look(acme, '/Shared/A/a.txt')['group_id']}/properties/contract"


def test_namespaces_are_listed_and_found(acme: Acme, contract: str) -> None:
    assert acme.http.get("/pubapi/v1/properties/namespace").json() == [NAMESPACE]
    assert acme.http.get("/pubapi/v1/properties/namespace/contract").json() == NAMESPACE
    assert acme.http.get("/pubapi/v1/properties/namespace/other").status_code == 404
    assert acme.http.post("/pubapi/v1/properties/namespace", json=NAMESPACE).status_code == 409


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "secret"},
        {"keys": {}},
        {"keys": {"k": {"type": "number"}}},
        {"keys": {"k": {"type": "enum"}}},
        {"name": "a/b"},
    ],
)
def test_a_namespace_that_means_nothing_is_refused(acme: Acme, changes: dict[str, Any]) -> None:
    refused = acme.http.post("/pubapi/v1/properties/namespace", json=NAMESPACE | changes)
    assert refused.status_code == 400
    assert next(iter(changes)) in refused.json()["errorMessage"]


def test_values_are_merged_and_taken_away(acme: Acme, contract: str) -> None:
    assert acme.http.get(contract).json() == {}
    assert acme.http.put(contract, json=GOOD).json() == GOOD
    merged = {**GOOD, "pages": 4, "price": 2}
    assert acme.http.put(contract, json={"pages": 4, "price": 2}).json() == merged
    del merged["party"]
    acme.http.put(contract, json={"party": None})
    assert acme.http.get(contract).json() == merged


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("party", 1),
        ("pages", "3"),
        ("pages", True),
        ("price", "much"),
        ("signed", "soon"),
        ("state", "lost"),
        ("colour", "red"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_all_the_others(
    acme: Acme, contract: str, key: str, value: Any
) -> None:
    refused = acme.http.put(contract, json={"party": "x", key: value})
    assert refused.status_code == 400
    assert key in refused.json()["errorMessage"]
    assert acme.http.get(contract).json() == {}


def test_an_unknown_namespace_or_file_has_no_values(acme: Acme, contract: str) -> None:
    other = contract.replace("contract", "other")
    for refused in (acme.http.get(other), acme.http.put(other, json={"k": "v"})):
        assert refused.status_code == 400
        assert "other" in refused.json()["errorMessage"]
    assert acme.http.get("/pubapi/v1/fs/ids/file/none/properties/contract").status_code == 404
    assert acme.http.put(contract, json=["x"]).status_code == 400


def test_values_are_shown_on_request_and_follow_a_move(acme: Acme, contract: str) -> None:
    acme.http.put(contract, json={"pages": 3})
    folder_id = look(acme, "/Shared/A")["folder_id"]
    acme.http.put(f"/pubapi/v1/fs/ids/folder/{folder_id}/properties/contract", json={"party": "p"})
    acme.change("move", "/Shared/A", destination="/Shared/B")
    row = {"scope": "public", "namespace": "contract"}
    shown = look(acme, "/Shared/B", list_custom_metadata=True)
    assert shown["custom_metadata"] == [{**row, "key": "party", "value": "p"}]
    assert shown["files"][0]["custom_metadata"] == [{**row, "key": "pages", "value": 3}]
    file = look(acme, "/Shared/B/a.txt", list_custom_metadata="true")
    assert file["custom_metadata"] == shown["files"][0]["custom_metadata"]
    assert look(acme, "/Shared", list_custom_metadata="true")["folders"][0]["custom_metadata"]
    assert "custom_metadata" not in look(acme, "/Shared/B/a.txt")
    found = acme.http.post("/pubapi/v2/search", json={"query": "a.txt"}).json()["results"][0]
    assert found["custom_metadata"] == file["custom_metadata"]


def test_a_folder_is_measured_with_all_its_versions(acme: Acme) -> None:
    acme.change("folder", "/Shared/S/A/B")
    acme.change("upload", "/Shared/S/a.txt", content="12345")
    acme.change("upload", "/Shared/S/a.txt", content="123")
    acme.change("upload", "/Shared/S/A/b.txt", content="12")
    url = f"/pubapi/v1/fs/ids/folder/{look(acme, '/Shared/S')['folder_id']}/stats"
    assert acme.http.get(url).json() == {
        "allFilesSize": 5,
        "allVersionsSize": 10,
        "filesCount": 2,
        "fileVersionsCount": 3,
        "foldersCount": 2,
    }
    assert acme.http.get("/pubapi/v1/fs/ids/folder/none/stats").status_code == 404


@pytest.fixture
def mixed(acme: Acme) -> Acme:
    for name in ("y", "X"):
        acme.change("folder", f"/Shared/L/{name}")
    for name, content in (("b.txt", "1"), ("A.txt", "333"), ("c.txt", "22")):
        acme.change("upload", f"/Shared/L/{name}", content=content)
    return acme


def names(page: dict[str, Any]) -> list[str]:
    return [row["name"] for row in page["folders"] + page["files"]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, ["X", "y", "A.txt", "b.txt", "c.txt"]),
        ({"sort_direction": "descending"}, ["y", "X", "c.txt", "b.txt", "A.txt"]),
        ({"sort_by": "size"}, ["X", "y", "b.txt", "c.txt", "A.txt"]),
        ({"sort_by": "last_modified"}, ["y", "X", "b.txt", "A.txt", "c.txt"]),
    ],
)
def test_a_listing_is_sorted_folders_first_and_pages_run_over_both(
    mixed: Acme, order: dict[str, str], expected: list[str]
) -> None:
    assert names(look(mixed, "/Shared/L", **order)) == expected
    seen: list[str] = []
    for offset in range(0, 6, 2):
        page = look(mixed, "/Shared/L", count=2, offset=offset, **order)
        assert (page["offset"], page["total_count"], page["count"]) == (offset, 5, len(names(page)))
        seen += names(page)
    assert seen == expected
    assert names(look(mixed, "/Shared/L", offset=99)) == []


def test_a_folder_may_be_shown_without_what_it_holds(mixed: Acme) -> None:
    shown = look(mixed, "/Shared/L", list_content="false")
    assert shown["is_folder"] is True
    assert not {"files", "folders", "total_count"} & shown.keys()


@pytest.mark.parametrize(
    "params",
    [
        {"count": 0},
        {"count": 1001},
        {"count": "many"},
        {"offset": -1},
        {"sort_by": "colour"},
        {"sort_direction": "up"},
        {"list_content": "perhaps"},
    ],
)
def test_a_bad_parameter_of_a_listing_is_named(acme: Acme, params: dict[str, Any]) -> None:
    refused: httpx.Response = acme.http.get("/pubapi/v1/fs/Shared", params=params)
    assert refused.status_code == 400
    assert next(iter(params)) in refused.json()["errorMessage"]
