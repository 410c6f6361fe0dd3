"""Metadata in the fake Box."""

from box_account import Box, Json, refused


def test_metadata_fits_its_template(box: Box) -> None:
    fields = [
        {"type": "enum", "key": "state", "displayName": "State", "options": [{"key": "open"}]},
        {
            "type": "multiSelect",
            "key": "tags",
            "displayName": "Tags",
            "options": [{"key": "a"}, {"key": "b"}],
        },
        {"type": "string", "key": "note", "displayName": "Note"},
    ]
    box.post(
        "/metadata_templates/schema", {"scope": "enterprise", "displayName": "My Case", "fields": fields}
    )
    schema = box.get("/metadata_templates/enterprise/myCase/schema")
    assert [field["key"] for field in schema["fields"]] == ["state", "tags", "note"]
    assert names_of(box.get("/metadata_templates/global")) == ["properties"]
    url = f"/folders/{box.folder('Docs')['id']}/metadata/enterprise_27335/myCase"
    for wrong in ({"state": "closed"}, {"tags": ["c"]}, {"note": 1}):
        refused(box.http.post(f"/2.0{url}", json=wrong), 400, "schema_validation_failed")
    refused(box.http.post(f"/2.0{url}", json={"other": "x"}), 400, "bad_request")
    made = box.post(url, {"state": "open", "tags": ["a", "b"]})
    assert (made["$version"], made["$scope"], made["$parent"][:7]) == (0, "enterprise_27335", "folder_")
    refused(box.http.get(f"/2.0{url[:-6]}other"), 404, "instance_not_found")
    refused(box.http.post(f"/2.0{url[:-6]}other", json={}), 404, "instance_tuple_not_found")


def names_of(page: Json) -> list[str]:
    return [entry["templateKey"] for entry in page["entries"]]


def test_a_patch_is_done_whole_or_not_at_all(box: Box) -> None:
    url = f"/files/{box.upload('a.txt')['id']}/metadata/global/properties"
    box.post(url, {"a": "1", "b": "2"})
    steps = [
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "add", "path": "/c~1d", "value": "3"},
        {"op": "move", "from": "/a", "path": "/e"},
        {"op": "copy", "from": "/b", "path": "/f"},
        {"op": "remove", "path": "/b"},
    ]
    changed = box.put(url, steps)
    assert {key: value for key, value in changed.items() if key[0] != "$"} == {"c/d": "3", "e": "1", "f": "2"}
    for wrong in (
        {"op": "test", "path": "/e", "value": "2"},
        {"op": "replace", "path": "/none", "value": "2"},
    ):
        failed = box.http.put(f"/2.0{url}", json=[{"op": "remove", "path": "/f"}, wrong])
        refused(failed, 400, "bad_request")
    assert box.get(url)["$version"] == 1
    assert box.get(url)["f"] == "2"
    assert box.http.delete(f"/2.0{url}").status_code == 204
