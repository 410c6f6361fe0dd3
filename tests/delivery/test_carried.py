"""What calls carry: keys, Basic auth and headers, from the configuration to the receiver."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
from gateway import Gateway

from app import event_settings
from app.configuration import MASK, is_secret
from app.delivery import carried
from app.delivery.carried import Carried, parse_headers
from app.delivery.dispatcher import DispatchWorker
from app.errors import BadRequest
from app.ingest import events, intake
from app.ingest.events import Origin
from app.settings import load
from app.store import instances
from app.store.tables import Via

KEY = "event.notification."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ('{"X-Key": "a", "X-Other": " b "}', {"X-Key": "a", "X-Other": "b"}),
        ("X-Key: a\r\nX-Other: b\n", {"X-Key": "a", "X-Other": "b"}),
        ("X-Key: a; X-Other: b", {"X-Key": "a", "X-Other": "b"}),
        ("X-Key:a,X-Other:b", {"X-Key": "a", "X-Other": "b"}),
        ("Cookie: a=b; c=d, e", {"Cookie": "a=b; c=d, e"}),
        (
            "X-See: http://a.example.com,http://b.example.com",
            {"X-See": "http://a.example.com,http://b.example.com"},
        ),
        ("user-agent: mine", {"User-Agent": "mine"}),
    ],
)
def test_headers_are_read_from_every_form(text: str, expected: dict[str, str]) -> None:
    assert parse_headers(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Host: a", "Host is set by the gateway"),
        ("content-length: 1", "content-length is set by the gateway"),
        ("Transfer-Encoding: chunked", "is set by the gateway"),
        ("Elements-Webhook-Signature: x", "is set by the gateway"),
        ("webhook-id: x", "is set by the gateway"),
        ("Elements-Anything: x", "is set by the gateway"),
        ("webhook_signature: x", "webhook_signature is set by the gateway"),
        ('{"Content_Length": "1"}', "is set by the gateway"),
        ("Accept-Encoding: gzip", "is set by the gateway"),
        ("X-Forwarded-For: 10.0.0.1", "is set by the gateway"),
        ("secret without a name", "`Name: value`"),
        ("Bad Name: secret", "`Name: value`"),
        ("X-Key: se\x00cret", "characters that no header has"),
        ('{"X-Key": "se\\ncret"}', "characters that no header has"),
        ('{"X-Key": 1}', "object of texts"),
        ('{"X-Key"', "not valid JSON"),
        ("X-Key: a\nx-key: b", "twice"),
        ("\n".join(f"X-{number}: secret" for number in range(21)), "more than 20 headers"),
        ("X-Key: " + "s" * 9000, "8192 characters"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_headers(text)
    assert "secret" not in str(caught.value)


def test_what_is_packed_is_unpacked_and_an_old_key_still_signs() -> None:
    whole = Carried(("one", "two"), ("ann", "p:w"), {"X-Key": "a"})
    packed = whole.pack()
    assert packed is not None
    assert carried.unpack(packed) == whole
    assert carried.unpack(b"an old key") == Carried(("an old key",))
    assert Carried().pack() is None


def test_no_secret_is_in_its_repr() -> None:
    assert "hush" not in repr(Carried(("hush",), ("hush", "hush"), {"X-Key": "hush"}))


@pytest.mark.parametrize(
    "name", ["signature.key", "signature.secondary.key", "basic.password", "callback.headers"]
)
def test_what_calls_carry_is_a_secret(name: str) -> None:
    assert is_secret(KEY + name)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"callback.headers": "Host: a"}, "callback.headers"),
        ({"basic.username": "ann", "callback.headers": "authorization: x"}, "callback.headers"),
        ({"basic.username": "a:b"}, "basic.username"),
        ({"basic.password": "a\nb"}, "basic.password"),
        ({"signature.key": "whsec_é"}, "signature.key"),
        ({"signature.secondary.key": "whsec_YWI"}, "signature.secondary.key"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(values: dict[str, str], key: str) -> None:
    given: dict[str, str | None] = {KEY + name: value for name, value in values.items()}
    with pytest.raises(BadRequest, match=f"configuration.{KEY}{key}: "):
        event_settings.read(given, load(_env_file=None))


async def test_a_callback_sees_basic_auth_headers_and_both_signatures(
    gateway: Gateway, receiver: httpx.Client, receiver_url: str
) -> None:
    values: dict[str, Any] = {
        "enabled": "true",
        "callback.url": receiver_url + "/changes",
        "signature.key": "new-key",
        "signature.secondary.key": "top-secret",
        "basic.username": "ann",
        "basic.password": "p:ß",
        "callback.headers": "X-Team: files; X-Room: 7",
    }
    instance = await gateway.connect("egnyte", **{KEY + name: value for name, value in values.items()})
    shown = instance["configuration"]
    assert {
        shown[KEY + name] for name in ("basic.password", "callback.headers", "signature.secondary.key")
    } == {MASK}
    await _deliver(gateway, instance["id"])
    (delivery,) = receiver.get("/deliveries").json()
    header = delivery["headers"]
    assert header["authorization"] == "Basic " + base64.b64encode("ann:p:ß".encode()).decode()
    assert (header["x-team"], header["x-room"]) == ("files", "7")
    assert (delivery["signature"], delivery["secondary_signature"]) == ("bad", "ok")
    assert len(header["webhook-signature"].split()) == 2


async def _deliver(gateway: Gateway, instance_id: int) -> None:
    """Takes in a change of the gateway's own and serves the callback for one turn."""
    runtime, now = gateway.runtime, gateway.runtime.clock.now()
    async with runtime.database.write() as connection:
        found = await instances.for_worker(connection, instance_id)
        assert found is not None
        change = events.grant_revoked(instance_id, 1, "test", now)
        await intake.take_in(connection, *found, [change], Origin(Via.GATEWAY, "gateway", 20), now=now)
    worker = DispatchWorker(runtime, asyncio.Event())
    for callback in await worker.claim(10):
        await worker.run(callback)
