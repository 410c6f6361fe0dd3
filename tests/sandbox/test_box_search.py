"""Search in the fake Box."""

import pytest
from box_account import Box, refused


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"query": "NUMBERS"}, ["Report.txt"]),
        ({"query": "numbers", "content_types": "name"}, []),
        ({"query": "o", "type": "folder"}, ["Docs"]),
        ({"query": "important", "content_types": "tags,comments"}, ["Report.txt"]),
        ({"query": "o", "file_extensions": "md"}, ["other.md"]),
        ({"query": "o", "size_range": ",8"}, ["other.md"]),
        ({"query": "o", "created_at_range": "2999-01-01T00:00:00Z,"}, []),
        ({"query": "o", "updated_at_range": ",2999-01-01T00:00:00Z", "limit": "1"}, ["Docs"]),
        ({"query": "o", "limit": "1", "offset": "1"}, ["Report.txt"]),
        ({"query": "gone", "trash_content": "trashed_only"}, ["gone.txt"]),
    ],
)  # fmt: skip
def test_search_has_many_filters(box: Box, params: dict[str, str], found: list[str]) -> None:
    docs = box.folder("Docs")
    report = box.upload("Report.txt", b"the numbers", docs["id"])
    box.put(f"/files/{report['id']}", {"tags": ["Important"]})
    box.upload("other.md", b"nothing")
    box.http.delete(f"/2.0/files/{box.upload('gone.txt')['id']}")
    entries = box.get("/search", **params)["entries"]
    assert [entry["name"] for entry in entries] == found


def test_a_search_that_is_not_understood_is_refused(box: Box) -> None:
    box.upload("x")
    for params in ({}, {"query": "x", "size_range": "x"}, {"query": "x", "created_at_range": "today"}):
        refused(box.http.get("/2.0/search", params=params), 400, "bad_request")
    refused(box.http.get("/2.0/search", params={"query": "x", "limit": 201}), 400, "invalid_limit")
