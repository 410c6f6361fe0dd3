"""What holds for every path: both base paths, one form of error, no secret in a log."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from gateway import Gateway

from app.errors import DatabaseUnavailable
from app.main import BASE_PATH


@pytest.mark.parametrize("base", [BASE_PATH, ""])
async def test_the_surface_is_answered_at_both_base_paths(gateway: Gateway, base: str) -> None:
    for path in ("/elements", "/elements/egnyte", "/instances"):
        answer = await gateway.http.get(f"http://gateway{base}{path}", headers=gateway.platform)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/elements", 405), ("POST", "/elements", 405)],
)
async def test_what_is_not_there_is_answered_in_the_form_of_errors(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = await gateway.http.request(method, path)
    assert answer.status_code == status
    error = answer.json()
    assert error.keys() == {"requestId", "message"}
    assert error["requestId"] == answer.headers["Elements-Request-Id"]
    assert len(error["requestId"]) == 24
    assert int(answer.headers["Content-Length"]) == len(answer.content)


async def test_an_unplanned_error_is_a_500_that_tells_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("app.provisioning.instances.find", broken)
    answer = await gateway.http.get("/instances", headers=gateway.platform)
    assert answer.status_code == 500
    assert answer.json()["requestId"] == answer.headers["Elements-Request-Id"]
    assert "the inside" not in answer.text
    assert any("the inside" in line and answer.json()["requestId"] in line for line in lines)


async def test_health_and_readiness(gateway: Gateway) -> None:
    for path in ("health", "ready"):
        assert (await gateway.http.get(f"http://gateway/{path}")).status_code == 200
    await gateway.runtime.database.close()
    async with gateway.runtime.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM alembic_version")
    answer = await gateway.http.get("http://gateway/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "schema is not current")


async def test_a_database_that_is_away_makes_the_process_unready_and_not_unhealthy(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise DatabaseUnavailable(OSError("connection refused by db.internal"))

    monkeypatch.setattr("app.store.migrations.fit", away)
    answer = await gateway.http.get("http://gateway/ready")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "not ready", "database": "unreachable", "reason": "OSError"},
    )
    assert (await gateway.http.get("http://gateway/health")).status_code == 200


@pytest.mark.parametrize("base", [BASE_PATH, ""])
async def test_every_refusal_has_one_form(gateway: Gateway, base: str) -> None:
    for method, path, status in (
        ("POST", "/instances", 401),
        ("GET", "/instances", 401),
        ("GET", "/instances/1", 401),
        ("DELETE", "/instances/1", 401),
        ("GET", "/hubs/documents/ping", 401),
        ("GET", "/events", 401),
        ("GET", "/elements/nobox", 404),
        ("GET", "/elements/egnyte/oauth/url", 400),
    ):
        answer = await gateway.http.request(method, f"http://gateway{base}{path}", json={})
        assert answer.status_code == status
        assert answer.json().keys() == {"requestId", "message"}
        assert answer.json()["requestId"] == answer.headers["Elements-Request-Id"]
        assert answer.headers["Content-Type"] == "application/json"
        assert int(answer.headers["Content-Length"]) == len(answer.content)


async def test_no_secret_reaches_a_log_line(
    gateway: Gateway, sandbox: httpx.Client, lines: list[str]
) -> None:
    body = await gateway.order(
        **{"event.notification.signature.key": "key-not-to-log", "password": "password-not-to-log"}
    )
    await gateway.http.get(
        "/elements/egnyte/oauth/url?apiKey=sandbox-client&apiSecret=sandbox-secret&callbackUrl=http://x"
    )
    made = await gateway.http.post("/instances", json=body, headers=gateway.platform)
    await gateway.http.post("/instances", json=body, headers=gateway.platform)  # the code is used
    wrong = await gateway.order(**{"oauth.api.secret": "wrong-not-to-log"})
    await gateway.http.post("/instances", json=wrong, headers=gateway.platform)
    sandbox.post("/control/egnyte/acme/tokens/expire", json={"kind": "all"})
    await gateway.http.get("/ping", headers=gateway.hub(made.json()["token"]))
    secrets = await gateway.runtime.credentials.open(made.json()["id"])
    forbidden = [
        "key-not-to-log",
        "password-not-to-log",
        "wrong-not-to-log",
        "sandbox-secret",
        gateway.secrets.user,
        gateway.secrets.organization,
        secrets.token,
        secrets.values["oauth.user.token"],
        secrets.values["oauth.user.refresh_token"],
        body["providerData"]["code"],
    ]
    assert len(lines) > 10
    for secret in forbidden:
        assert not [line for line in lines if secret in line]
