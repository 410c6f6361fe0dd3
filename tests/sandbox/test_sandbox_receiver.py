"""The callback receiver."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress

import httpx
import pytest
from processes import until
from serving import served

from app.sandbox.receiver import Delivery, create_receiver

BODY = json.dumps(
    {
        "message": {
            "events": [
                {"eventType": "CREATED", "objectType": "file", "objectId": "g-1", "newPath": "/Shared/ü.txt"},
                {"eventType": "DELETED", "objectType": "folder", "objectId": "f-2"},
            ]
        }
    }
).encode()


def signature(key: str, body: bytes = BODY) -> str:
    digest = hmac.new(key.encode(), body, hashlib.sha256).digest()
    return f"sha256={base64.b64encode(digest).decode()}"


def deliveries(inbox: httpx.Client, since: int = 0) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = inbox.get("/deliveries", params={"since": since}).json()
    return rows


def test_a_callback_is_kept_with_its_headers_and_body(receiver: httpx.Client) -> None:
    headers = {"Elements-Webhook-Id": "w-1", "Elements-Webhook-Signature": signature("top-secret")}
    assert receiver.post("/any/path", content=BODY, headers=headers).status_code == 200
    row = deliveries(receiver)[-1]
    assert row["path"] == "/any/path"
    assert row["signature"] == "ok"
    assert row["body"] == BODY.decode()
    assert row["json"] == json.loads(BODY)
    assert isinstance(row["headers"], dict)
    assert row["headers"]["elements-webhook-id"] == "w-1"


@pytest.mark.parametrize(
    ("sent", "verdict"), [(None, "none"), ("sha256=bad", "bad"), (signature("other"), "bad")]
)
def test_a_signature_is_checked(receiver: httpx.Client, sent: str | None, verdict: str) -> None:
    receiver.post("/", content=BODY, headers={"Elements-Webhook-Signature": sent} if sent else {})
    assert deliveries(receiver)[-1]["signature"] == verdict


def test_deliveries_are_read_from_where_one_left_off(receiver: httpx.Client) -> None:
    for body in (b"1", b"2", b"3"):
        receiver.post("/", content=body)
    ids = [row["id"] for row in deliveries(receiver)]
    assert isinstance(ids[0], int)
    assert [row["body"] for row in deliveries(receiver, since=ids[0])] == ["2", "3"]


def test_old_deliveries_fall_out() -> None:
    with served(create_receiver(keep=5, echo=False)) as url, httpx.Client(base_url=url) as small:
        for number in range(8):
            small.post("/", content=str(number).encode())
        assert [row["body"] for row in deliveries(small)] == ["3", "4", "5", "6", "7"]


def test_one_path_can_fail_while_another_is_well(receiver: httpx.Client) -> None:
    receiver.post("/control", json={"path": "/dead", "status": 503, "retry_after": 7})
    dead = receiver.post("/dead")
    assert (dead.status_code, dead.headers["retry-after"]) == (503, "7")
    assert receiver.post("/well").status_code == 200
    receiver.post("/control", json={"path": "/dead"})
    assert receiver.post("/dead").status_code == 200


def test_a_behaviour_wears_off(receiver: httpx.Client) -> None:
    receiver.post("/control", json={"status": 410, "times": 2})
    assert [receiver.post("/").status_code for _ in range(3)] == [410, 410, 200]


def test_a_redirect_says_where_to(receiver: httpx.Client) -> None:
    receiver.post("/control", json={"status": 302, "location": "/elsewhere", "times": 1})
    assert receiver.post("/").headers["location"] == "/elsewhere"


def test_an_answer_can_be_late(receiver: httpx.Client) -> None:
    receiver.post("/control", json={"delay": 0.2, "status": 204, "times": 1})
    began = time.monotonic()
    assert receiver.post("/").status_code == 204
    assert time.monotonic() - began >= 0.2


async def test_a_receiver_can_hang_and_cut_and_still_has_the_delivery(receiver: httpx.Client) -> None:
    receiver.post("/control", json={"path": "/hang", "hang": True})
    receiver.post("/control", json={"path": "/cut", "cut": True})
    async with httpx.AsyncClient(base_url=receiver.base_url) as sender:
        hanging = asyncio.create_task(sender.post("/hang"))
        await until(lambda: deliveries(receiver), "the delivery")
        await asyncio.sleep(0.1)
        assert not hanging.done()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
    with pytest.raises(httpx.RemoteProtocolError):
        receiver.post("/cut")
    assert [row["path"] for row in deliveries(receiver)] == ["/hang", "/cut"]


def test_a_delivery_says_how_it_was_answered(receiver: httpx.Client) -> None:
    for behaviour in ({}, {"status": 503}, {"cut": True}):
        receiver.post("/control", json=behaviour)
        with suppress(httpx.RemoteProtocolError):
            receiver.post("/any")
    assert [row["answered"] for row in deliveries(receiver)] == [200, 503, None]


def test_the_callback_page_shows_the_code_and_nothing_runs_in_it(receiver: httpx.Client) -> None:
    page = receiver.get("/oauth/callback", params={"code": "<b>c0de</b>", "state": "s"}).text
    assert "&lt;b&gt;c0de&lt;/b&gt;" in page
    assert "access_denied" in receiver.get("/oauth/callback", params={"error": "access_denied"}).text


async def test_every_delivery_is_printed_and_handed_over(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Delivery] = []
    transport = httpx.ASGITransport(create_receiver("top-secret", seen.append))
    headers = {"Elements-Webhook-Id": "w-1", "Elements-Webhook-Signature": signature("top-secret")}
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        await client.post("/hook", content=BODY, headers=headers)
        await client.post("/hook", content=b'{"message": null}')
    printed = capsys.readouterr().out.splitlines()
    assert [delivery.signature for delivery in seen] == ["ok", "none"]
    assert "w-1" in printed[0]
    assert "signature OK" in printed[0]
    assert printed[1].split() == ["CREATED", "file", "g-1", "/Shared/ü.txt"]
    assert printed[2].split() == ["DELETED", "folder", "f-2"]
