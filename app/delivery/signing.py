"""Signatures of notifications: Cloud Elements' own, and the Standard Webhooks ones beside it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_STANDARD_PREFIX = "whsec_"


def headers(body: bytes, *, notification_id: int, key: str | None, timestamp: int) -> dict[str, str]:
    """The headers of one attempt; `timestamp` is seconds since 1970. Without a key nothing is signed.

    Elements-Webhook-Signature covers the body. webhook-signature (standardwebhooks.com) also covers the
    id and the time of the attempt, so that a receiver can refuse what somebody recorded and sends again.
    """
    found = {
        "Content-Type": "application/json",
        "Elements-Webhook-Id": str(notification_id),
        "webhook-id": f"msg_{notification_id}",
        "webhook-timestamp": str(timestamp),
    }
    if key:
        found["Elements-Webhook-Signature"] = "sha256=" + _mac(key.encode(), body)
        signed = f"msg_{notification_id}.{timestamp}.".encode() + body
        found["webhook-signature"] = "v1," + _mac(standard_key(key), signed)
    return found


def standard_key(key: str) -> bytes:
    """The key of the Standard Webhooks signature: what follows `whsec_` in base64, or the text itself."""
    if key.startswith(_STANDARD_PREFIX):
        try:
            return base64.b64decode(key.removeprefix(_STANDARD_PREFIX), validate=True)
        except binascii.Error:
            pass
    return key.encode()


def _mac(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()
