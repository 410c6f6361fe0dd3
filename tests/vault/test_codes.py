"""A code that a failed request has used up is good for its repetition, and for nobody else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from gateway import Gateway
from twins import twin_of

from app.errors import Conflict
from app.provisioning import updates
from app.upstream.oauth import Tokens
from app.vault.codes import Codes, key

GIVEN = Tokens("access", "refresh", None, datetime(2026, 2, 1, tzinfo=UTC))


async def post(gateway: Gateway, order: dict[str, Any]) -> httpx.Response:
    return await gateway.http.post("/instances", json=order, headers=gateway.platform)


async def fails(gateway: Gateway, sandbox: httpx.Client) -> dict[str, Any]:
    """An order whose code was traded before the vendor failed."""
    order = await gateway.order(**{"event.notification.enabled": "true"})
    fault = {"kind": "403", "path": "/pubapi/v1/events/cursor"}
    sandbox.post("/control/egnyte/acme/faults", json=fault).raise_for_status()
    assert (await post(gateway, order)).status_code == 403
    return order


async def test_the_same_order_works_after_the_vendor_has_failed(
    gateway: Gateway, sandbox: httpx.Client
) -> None:
    order = await fails(gateway, sandbox)
    answer = await post(gateway, order)
    assert answer.status_code == 200, answer.text
    ping = await gateway.http.get("/ping", headers=gateway.hub(answer.json()["token"]))
    assert ping.status_code == 200


async def test_a_code_that_has_connected_an_account_connects_no_second_one(
    gateway: Gateway, sandbox: httpx.Client
) -> None:
    order = await fails(gateway, sandbox)
    assert (await post(gateway, order)).status_code == 200
    refused = await post(gateway, order)
    assert refused.status_code == 400
    assert "invalid_grant" in refused.json()["providerMessage"]


async def test_a_change_that_has_failed_after_its_code_was_traded_works_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/instances/{(await gateway.connect())['id']}"
    order = {"providerData": {"code": twin_of("egnyte").code(gateway.sandbox_url)}}

    async def refused(*_: Any) -> None:
        raise Conflict("overtaken")

    with monkeypatch.context() as broken:
        broken.setattr(updates, "_write", refused)
        answer = await gateway.http.patch(path, json=order, headers=gateway.platform)
        assert answer.status_code == 409
    answer = await gateway.http.patch(path, json=order, headers=gateway.platform)
    assert answer.status_code == 200, answer.text
    answer = await gateway.http.patch(path, json=order, headers=gateway.platform)
    assert "invalid_grant" in answer.json()["providerMessage"]


@pytest.mark.parametrize("name", ["oauth.api.secret", "oauth.callback.url"])
async def test_what_a_code_brought_is_not_for_another_app(
    gateway: Gateway, sandbox: httpx.Client, name: str
) -> None:
    order = await fails(gateway, sandbox)
    order["configuration"][name] = "https://other.example.com"
    assert (await post(gateway, order)).status_code == 400


def test_parts_of_a_key_do_not_run_together() -> None:
    assert len({key(1, "a", "bc"), key(1, "ab", "c"), key(1, "abc", None), key(1, None, "abc")}) == 4


async def test_what_nobody_comes_back_for_is_forgotten() -> None:
    now = [0.0]
    codes = Codes(timedelta(seconds=60), clock=lambda: now[0])

    async def trade() -> Tokens:
        return GIVEN

    async def refused() -> Tokens:
        raise LookupError

    for moment, expected in ((59.0, GIVEN), (60.0, None)):
        now[0] = 0.0
        with pytest.raises(ZeroDivisionError):
            async with codes.traded("k", trade):
                raise ZeroDivisionError
        now[0] = moment
        if expected is None:
            with pytest.raises(LookupError):
                async with codes.traded("k", refused):
                    raise AssertionError
        else:
            async with codes.traded("k", refused) as found:
                assert found is expected


async def test_a_request_that_is_cut_while_its_code_is_traded_loses_nothing() -> None:
    codes = Codes()
    begun, answers = asyncio.Event(), asyncio.Event()

    async def trade() -> Tokens:
        begun.set()
        await answers.wait()
        return GIVEN

    async def refused() -> Tokens:
        raise LookupError

    async def request() -> None:
        async with codes.traded("k", trade):
            raise AssertionError

    task = asyncio.create_task(request())
    await begun.wait()
    task.cancel()
    answers.set()
    await asyncio.wait([task])
    assert task.cancelled()
    async with codes.traded("k", refused) as found:
        assert found is GIVEN
