"""/hubs: what this gateway serves, without authorization."""

from __future__ import annotations

import pytest
from gateway import Gateway

from app.main import BASE_PATH


@pytest.mark.parametrize("base", [BASE_PATH, ""])
async def test_the_documents_hub_is_the_one_that_is_served(gateway: Gateway, base: str) -> None:
    answer = await gateway.http.get(f"http://gateway{base}/hubs")
    assert answer.headers["Elements-Returned-Count"] == "1"
    (hub,) = answer.json()
    assert hub.keys() == {"id", "name", "key", "description", "active"}
    assert (hub["id"], hub["key"], hub["active"]) == (4, "documents", True)
    assert hub["name"] == "Cloud Storage & Documents"
    assert (await gateway.http.get(f"http://gateway{base}/hubs/keys")).json() == ["documents"]


@pytest.mark.parametrize("name", ["documents", "4", "Documents"])
async def test_a_hub_is_found_by_key_or_id(gateway: Gateway, name: str) -> None:
    (listed,) = (await gateway.http.get("/hubs")).json()
    answer = await gateway.http.get(f"/hubs/{name}")
    assert (answer.status_code, answer.json()) == (200, listed)


async def test_a_hydrated_hub_has_its_elements(gateway: Gateway) -> None:
    elements = (await gateway.http.get("/hubs/documents/elements")).json()
    assert [element["key"] for element in elements] == ["box", "egnyte"]
    assert elements == (await gateway.http.get("/elements")).json()
    (listed,) = (await gateway.http.get("/hubs", params={"hydrate": "True"})).json()
    assert listed["elements"] == elements
    assert (await gateway.http.get("/hubs/4", params={"hydrate": "true"})).json() == listed


async def test_a_hub_that_is_not_served_is_not_found(gateway: Gateway) -> None:
    for path in ("/hubs/crm", "/hubs/11", "/hubs/crm/elements"):
        answer = await gateway.http.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("No hub")
        assert answer.json()["message"].endswith("found")


async def test_the_elements_of_a_hub_come_in_pages(gateway: Gateway) -> None:
    first = await gateway.http.get("/hubs/documents/elements", params={"pageSize": 1, "nextPage": ""})
    token = first.headers["Elements-Next-Page-Token"]
    second = await gateway.http.get("/hubs/documents/elements", params={"pageSize": 1, "nextPage": token})
    assert [page.json()[0]["key"] for page in (first, second)] == ["box", "egnyte"]
    assert "Elements-Next-Page-Token" not in second.headers


@pytest.mark.parametrize("header", ["", "nonsense", "User", "User wrong, Organization wrong", "Bearer x"])
async def test_any_authorization_will_do(gateway: Gateway, header: str) -> None:
    for path in ("/hubs", "/hubs/keys", "/hubs/documents", "/hubs/documents/elements"):
        answer = await gateway.http.get(path, headers={"Authorization": header})
        assert answer.status_code == 200


async def test_hub_calls_are_still_answered_beside_them(gateway: Gateway) -> None:
    made = await gateway.connect()
    answer = await gateway.http.get("/hubs/documents/ping", headers=gateway.hub(made["token"]))
    assert answer.json()["endpoint"] == "egnyte"
