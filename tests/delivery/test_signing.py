"""Signatures, recomputed and checked by the official package."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.delivery import signing

BODY = '{"id":"7","message":{"ü":1}}'.encode()


def headers(key: str | None) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    return signing.headers(BODY, notification_id=7, keys=[key] if key else [], timestamp=now)


def test_the_signature_is_the_one_that_cloud_elements_documented() -> None:
    expected = base64.b64encode(hmac.new(b"key", BODY, hashlib.sha256).digest()).decode()
    assert headers("key")["Elements-Webhook-Signature"] == f"sha256={expected}"
    assert headers("key")["Elements-Webhook-Id"] == "7"


@pytest.mark.parametrize("key", ["plain key", "whsec_" + base64.b64encode(b"0123456789abcdef").decode()])
def test_the_official_package_verifies_the_other_signature(key: str) -> None:
    secret = key if key.startswith("whsec_") else base64.b64encode(key.encode()).decode()
    assert Webhook(secret).verify(BODY, headers(key)) == {"id": "7", "message": {"ü": 1}}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers(key))


NO_KEYS = ["whsec_not base64", "whsec_é", "whsec_YWI", "whsec_YWJj\n"]


@pytest.mark.parametrize("key", NO_KEYS)
def test_a_key_that_only_looks_like_a_standard_one_is_taken_as_text(key: str) -> None:
    assert signing.standard_key(key) == key.encode()


@pytest.mark.parametrize("key", [*NO_KEYS, "whsec_"])
def test_a_new_key_that_only_looks_like_a_standard_one_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing.check_key(key)
    for fine in ("", "plain", "é", "whsec_YWJj"):
        signing.check_key(fine)


def test_without_a_key_nothing_is_signed() -> None:
    found = headers(None)
    assert not [name for name in found if "signature" in name.lower()]
    assert found["webhook-id"] == "msg_7"


def test_two_keys_sign_side_by_side() -> None:
    now = int(datetime.now(UTC).timestamp())
    found = signing.headers(BODY, notification_id=7, keys=["new", "old"], timestamp=now)
    for key, name in (("new", "Elements-Webhook-Signature"), ("old", "Elements-Webhook-Signature-Secondary")):
        expected = base64.b64encode(hmac.new(key.encode(), BODY, hashlib.sha256).digest()).decode()
        assert found[name] == f"sha256={expected}"
        assert Webhook(base64.b64encode(key.encode()).decode()).verify(BODY, found)
