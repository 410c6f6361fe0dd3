"""The documents hub: ping, and the stream of changes on demand."""

from __future__ import annotations

from typing import Any

import pytest
from acme import Acme
from gateway import Gateway

from app.main import BASE_PATH

PATHS = ("/hubs/documents", "/hubs/crm", "/hubs/anything", "")


async def events(gateway: Gateway, token: str, **parameters: Any) -> Any:
    """One page of events, and the headers it came with."""
    answer = await gateway.http.get("/hubs/documents/events", params=parameters, headers=gateway.hub(token))
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers


@pytest.fixture
async def token(gateway: Gateway) -> str:
    return str((await gateway.connect())["token"])


@pytest.mark.parametrize("base", [BASE_PATH, ""])
@pytest.mark.parametrize("path", PATHS)
async def test_every_spelling_of_a_hub_path_is_answered(
    gateway: Gateway, token: str, base: str, path: str
) -> None:
    for resource in ("ping", "events"):
        url = f"http://gateway{base}{path}/{resource}"
        answer = await gateway.http.get(url, headers=gateway.hub(token))
        assert answer.status_code == 200
        assert answer.headers["Elements-Element-Instance-Id"] == "1"


async def test_ping_asks_the_vendor(gateway: Gateway, acme: Acme, token: str) -> None:
    pong = (await gateway.http.get("/ping", headers=gateway.hub(token))).json()
    assert (pong["endpoint"], pong["dateTime"][-1]) == ("egnyte", "Z")
    acme.fault("403", path="/pubapi/v1/userinfo")
    refused = await gateway.http.get("/ping", headers=gateway.hub(token))
    assert refused.status_code == 403
    assert refused.json()["providerMessage"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [("mashery_inactive", 401), ("mashery_rate", 429), ("500", 502), ("cut", 502), ("html", 502)],
)
async def test_what_the_vendor_says_is_passed_on(
    gateway: Gateway, acme: Acme, token: str, fault: str, status: int
) -> None:
    wait = {"retry_after": 60} if status == 429 else {}
    acme.fault(fault, path="/pubapi/v1/userinfo", times=None, **wait)
    answer = await gateway.http.get("/ping", headers=gateway.hub(token))
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == ("60" if status == 429 else None)


async def test_a_short_throttle_is_waited_out(gateway: Gateway, acme: Acme, token: str) -> None:
    acme.fault("mashery_qps", path="/pubapi/v1/userinfo", times=1, retry_after=0.05)
    assert (await gateway.http.get("/ping", headers=gateway.hub(token))).status_code == 200


async def test_a_dead_access_token_is_refreshed(gateway: Gateway, acme: Acme, token: str) -> None:
    acme.control("tokens/expire", kind="access")
    assert (await gateway.http.get("/ping", headers=gateway.hub(token))).status_code == 200


async def test_a_row_has_the_names_that_poller_configurations_expect(
    gateway: Gateway, acme: Acme, token: str
) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    (row,), headers = await events(gateway, token)
    assert (
        row
        | {
            "event_type": "CREATED",
            "event_object_type": "file",
            "path": "/Shared/a.txt",
            "name": "a.txt",
            "change": "create",
        }
        == row
    )
    assert row["event_date"][-5] == "."
    assert row["event_date"].endswith("Z")
    assert {"event_id", "event_object_id", "actor"} <= row.keys()
    assert "raw" not in row
    assert headers["Elements-Returned-Count"] == "1"
    (row,), _ = await events(gateway, token, raw="True")
    assert row["raw"]["data"]["target_path"] == "/Shared/a.txt"


async def test_pages_follow_each_other_until_no_token_comes(gateway: Gateway, acme: Acme, token: str) -> None:
    acme.change("upload", "/Shared/{n}.txt", content="x", count=25)
    found, page, pages = [], "", 0
    while page is not None:
        rows, headers = await events(gateway, token, pageSize=10, nextPage=page)
        assert len(rows) <= 10
        assert headers["Elements-Events-Cursor"]
        found += [row["event_id"] for row in rows]
        page, pages = headers.get("Elements-Next-Page-Token"), pages + 1
    assert pages == 3
    assert len(found) == len(set(found)) == 25


async def test_a_cursor_resumes_later(gateway: Gateway, acme: Acme, token: str) -> None:
    acme.change("upload", "/Shared/a.txt", content="x")
    rows, headers = await events(gateway, token, cursor="now")
    assert rows == []
    assert "Elements-Next-Page-Token" not in headers
    acme.change("upload", "/Shared/b.txt", content="x")
    rows, headers = await events(gateway, token, cursor=headers["Elements-Events-Cursor"])
    assert [row["name"] for row in rows] == ["b.txt"]
    rows, headers = await events(gateway, token, cursor=headers["Elements-Events-Cursor"])
    assert rows == []
    assert headers["Elements-Events-Cursor"]


async def test_a_cursor_that_is_too_old_starts_at_the_oldest_and_says_so(
    gateway: Gateway, acme: Acme, token: str
) -> None:
    acme.configure(stale_cursor="404")
    acme.change("upload", "/Shared/{n}.txt", content="x", count=10)
    acme.control(
        "events/drop", before_id=acme.control("changes", action="upload", path="/Shared/z")["latest_id"]
    )
    rows, headers = await events(gateway, token, cursor="4000")
    assert [row["name"] for row in rows] == ["z"]
    assert "no longer has" in headers["Elements-Error"]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("event_date >= '2000-01-01T00:00:00.000Z'", ["a.txt", "b.txt"]),
        ("event_date<'2000-01-01'", []),
        ("`event_date` > '2000-01-01' AND name = 'b.txt'", ["b.txt"]),
        ("name like '%.TXT' and not_there is null", None),
        ("event_type in ('DELETED','UNKNOWN')", []),
    ],
)
async def test_where_chooses_rows(
    gateway: Gateway, acme: Acme, token: str, where: str, names: list[str] | None
) -> None:
    for name in ("a.txt", "b.txt"):
        acme.change("upload", f"/Shared/{name}", content="x")
    answer = await gateway.http.get("/events", params={"where": where}, headers=gateway.hub(token))
    if names is None:
        assert answer.status_code == 400
        assert "not_there" in answer.json()["message"]
    else:
        assert [row["name"] for row in answer.json()] == names


@pytest.mark.parametrize(
    "query",
    [
        "where=event_date >",
        "where=(",
        "where=event_date>'nonsense'",
        "where=event_type='Created'",
        "cursor=abc",
        "cursor=-1",
        "nextPage=zzz",
        "pageSize=0",
        "pageSize=many",
        "raw=perhaps",
    ],
)
async def test_a_bad_parameter_is_named(gateway: Gateway, token: str, query: str) -> None:
    answer = await gateway.http.get(f"/events?{query}", headers=gateway.hub(token))
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(query.split("=")[0])


@pytest.mark.parametrize(
    "form", ["user {u}, element {e}", "Element {e},User {u}", "Element: {e} , User: {u}"]
)
async def test_the_header_is_taken_in_every_form(gateway: Gateway, token: str, form: str) -> None:
    value = form.format(u=gateway.secrets.user, e=token)
    assert (await gateway.http.get("/ping", headers={"Authorization": value})).status_code == 200
    with_organization = f"{value}, Organization {gateway.secrets.organization}"
    assert (await gateway.http.get("/ping", headers={"Authorization": with_organization})).status_code == 200
    wrong = f"{value}, Organization 00"
    assert (await gateway.http.get("/ping", headers={"Authorization": wrong})).status_code == 401


async def test_a_hub_call_needs_user_and_element(gateway: Gateway, token: str) -> None:
    for value in (f"Element {token}", gateway.platform["Authorization"], f"User x, Element {token}"):
        answer = await gateway.http.get("/ping", headers={"Authorization": value})
        assert answer.status_code == 401
