"""Lists of instances: searched, paged, of an element, of an account; and one instance by its token alone."""

from __future__ import annotations

from typing import Any

import pytest
from gateway import Gateway

from app.tenancy import tenants


async def connected(
    gateway: Gateway, *, name: str, tags: list[str], element: str = "egnyte"
) -> dict[str, Any]:
    body = await gateway.order(element) | {"name": name, "tags": tags}
    answer = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
async def three(gateway: Gateway) -> list[int]:
    return [
        (await connected(gateway, name="Acme files", tags=["Docs", "EU"]))["id"],
        (await connected(gateway, name="Box of 100%", tags=["Docs"], element="box"))["id"],
        (await connected(gateway, name="other", tags=['it\'s "odd"']))["id"],
    ]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [0, 1, 2]),
        ({"tags[]": "Docs"}, [0, 1]),
        ({"tags[]": ["Docs", "EU"]}, [0]),
        ({"tags[]": "Docs,EU"}, [0]),
        ({"tags[]": 'it\'s "odd"'}, [2]),
        ({"searchText": "ACME"}, [0]),
        ({"searchText": "egnyt"}, [0, 2]),
        ({"searchText": "0%"}, [1]),
        ({"searchText": "o", "tags[]": "Docs"}, [1]),
        ({"page": 2, "pageSize": 2}, [2]),
        ({"page": 9, "pageSize": 2}, []),
        ({"nextPage": "", "pageSize": 1}, [0]),
    ],
)
async def test_instances_are_found(
    gateway: Gateway, three: list[int], query: dict[str, Any], numbers: list[int]
) -> None:
    answer = await gateway.http.get("/instances", params=query, headers=gateway.platform)
    assert [item["id"] for item in answer.json()] == [three[number] for number in numbers]


@pytest.mark.parametrize("query", ["searchText=nobody", "tags[]=docs", "tags[]=Docs&searchText=other"])
async def test_a_search_that_finds_none_is_a_404_whose_words_clients_know(
    gateway: Gateway, three: list[int], query: str
) -> None:
    answer = await gateway.http.get(f"/instances?{query}", headers=gateway.platform)
    assert (answer.status_code, answer.json()["message"]) == (404, "No instances found")


async def test_an_account_without_instances_has_an_empty_list(gateway: Gateway) -> None:
    answer = await gateway.http.get("/instances?returnTotalCount=True", headers=gateway.platform)
    assert (answer.status_code, answer.json()) == (200, [])
    assert answer.headers["Elements-Total-Count"] == "0"


async def test_pages_say_what_they_are(gateway: Gateway, three: list[int]) -> None:
    answer = await gateway.http.get(
        "/instances", params={"pageSize": 2, "returnTotalCount": True}, headers=gateway.platform
    )
    assert answer.headers["Elements-Returned-Count"] == "2"
    assert answer.headers["Elements-Total-Count"] == "3"
    token = answer.headers["Elements-Next-Page-Token"]
    rest = await gateway.http.get(
        "/instances", params={"pageSize": 2, "page": 2, "nextPage": token}, headers=gateway.platform
    )
    assert [item["id"] for item in rest.json()] == three[2:]
    assert "Elements-Next-Page-Token" not in rest.headers
    capped = await gateway.http.get("/instances?pageSize=2147483647&page=1", headers=gateway.platform)
    assert "200" in capped.headers["Elements-Error"]
    assert len(capped.json()) == 3


async def test_a_deleted_instance_hides_no_other_one_from_a_reader(
    gateway: Gateway, three: list[int]
) -> None:
    first = await gateway.http.get("/instances?pageSize=1", headers=gateway.platform)
    await gateway.http.delete(f"/instances/{three[0]}", headers=gateway.platform)
    token = first.headers["Elements-Next-Page-Token"]
    rest = await gateway.http.get(f"/instances?nextPage={token}", headers=gateway.platform)
    assert [item["id"] for item in rest.json()] == three[1:]


async def test_without_hydrate_the_configuration_is_left_out(gateway: Gateway, three: list[int]) -> None:
    plain = (await gateway.http.get("/instances?hydrate=False", headers=gateway.platform)).json()
    whole = (await gateway.http.get("/instances?hydrate=True", headers=gateway.platform)).json()
    assert not any("configuration" in item for item in plain)
    assert [item | {"configuration": {}} for item in plain] == [
        item | {"configuration": {}} for item in whole
    ]


async def test_instances_are_counted(gateway: Gateway, three: list[int]) -> None:
    answer = await gateway.http.get("/instances/count", headers=gateway.platform)
    assert answer.json() == {"totalInstances": 3, "elementInstances": {"box": 1, "egnyte": 2}}


@pytest.mark.parametrize("element", ["egnyte", "4016"])
async def test_an_element_has_its_own_instances_with_all_verbs(
    gateway: Gateway, three: list[int], element: str
) -> None:
    base = f"/elements/{element}/instances"
    listed = await gateway.http.get(base, headers=gateway.platform)
    assert [item["id"] for item in listed.json()] == [three[0], three[2]]
    order = await gateway.order() | {"element": None}
    made = (await gateway.http.post(base, json=order, headers=gateway.platform)).json()
    assert made["element"]["key"] == "egnyte"
    one = f"{base}/{made['id']}"
    assert (await gateway.http.get(one, headers=gateway.platform)).json() == made
    for method, name in (("PUT", "a"), ("PATCH", "b")):
        answer = await gateway.http.request(method, one, json={"name": name}, headers=gateway.platform)
        assert answer.json()["name"] == name
    foreign = f"{base}/{three[1]}"
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body: dict[str, Any] = {"json": {}} if method in {"PUT", "PATCH"} else {}
        answer = await gateway.http.request(method, foreign, headers=gateway.platform, **body)
        assert answer.status_code == 404
    assert (await gateway.http.delete(one, headers=gateway.platform)).status_code == 200
    assert (await gateway.http.get(one, headers=gateway.platform)).status_code == 404
    assert (await gateway.http.get("/elements/nobox/instances", headers=gateway.platform)).status_code == 404


async def test_an_instance_can_be_named_by_its_token_alone(gateway: Gateway, three: list[int]) -> None:
    made = await gateway.connect()
    secrets = gateway.platform["Authorization"]
    for authorization in (f"{secrets}, Element {made['token']}", f"Element {made['token']}, {secrets}"):
        headers = {"Authorization": authorization}
        listed = (await gateway.http.get("/instances", headers=headers)).json()
        assert len(listed) == 4, "GET /instances stays a list"
        for method, name in (("PUT", "a"), ("PATCH", "b")):
            answer = await gateway.http.request(method, "/instances", json={"name": name}, headers=headers)
            assert (answer.json()["id"], answer.json()["name"]) == (made["id"], name)
        items = (await gateway.http.get("/instances/configuration", headers=headers)).json()
        one = f"/instances/configuration/{items[0]['id']}"
        assert (await gateway.http.get(one, headers=headers)).json() == items[0]
        answer = await gateway.http.patch(one, json=items[0], headers=headers)
        assert answer.json() == items[0]
        for method in ("DELETE", "PUT"):
            answer = await gateway.http.request(method, "/instances/enabled", headers=headers)
            assert (answer.status_code, answer.headers["elements-element-instance-id"]) == (
                200,
                str(made["id"]),
            )
    assert (await gateway.http.delete("/instances", headers=headers)).status_code == 200
    assert (await gateway.http.delete("/instances", headers=headers)).status_code == 401
    assert len((await gateway.http.get("/instances", headers=gateway.platform)).json()) == 3


async def test_without_a_token_an_instance_has_to_be_named(gateway: Gateway) -> None:
    for method, path in (("DELETE", "/instances"), ("PUT", "/instances/enabled"), ("PATCH", "/instances")):
        body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        answer = await gateway.http.request(method, path, headers=gateway.platform, **body)
        assert (answer.status_code, "Element token" in answer.json()["message"]) == (401, True)


async def test_another_account_sees_none_of_it(gateway: Gateway, three: list[int]) -> None:
    runtime = gateway.runtime
    other = await tenants.create_organization(
        runtime.database, "Other", email="other@example.com", now=runtime.clock.now()
    )
    stranger = {"Authorization": f"User {other.user}, Organization {other.organization}"}
    for path in ("/instances", "/accounts/instances", "/elements/egnyte/instances", "/accounts/1/instances"):
        assert (await gateway.http.get(path, headers=stranger)).json() in ([], None) or (
            await gateway.http.get(path, headers=stranger)
        ).status_code in {403, 404}
    assert (await gateway.http.get("/instances/count", headers=stranger)).json()["totalInstances"] == 0
    for method in ("PUT", "PATCH"):
        answer = await gateway.http.request(method, f"/instances/{three[0]}", json={}, headers=stranger)
        assert answer.status_code == 404
    for path in (f"/instances/{three[0]}/enabled", f"/instances/{three[0]}/configuration"):
        method = "DELETE" if path.endswith("enabled") else "GET"
        assert (await gateway.http.request(method, path, headers=stranger)).status_code == 404


async def test_an_account_lists_its_instances(gateway: Gateway, three: list[int]) -> None:
    account_id = (await gateway.http.get("/accounts/instances", headers=gateway.platform)).json()
    assert [item["id"] for item in account_id] == three
    answer = await gateway.http.get("/accounts/1/instances?pageSize=1", headers=gateway.platform)
    assert [item["id"] for item in answer.json()] == three[:1]
