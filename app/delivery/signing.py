"""Signatures of notifications: Cloud Elements' own, and the Standard Webhooks ones beside it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress

_STANDARD_PREFIX = "whsec_"
_SIGNATURES = ("Elements-Webhook-Signature", "Elements-Webhook-Signature-Secondary")


def headers(body: bytes, *, notification_id: int, keys: Sequence[str], timestamp: int) -> dict[str, str]:
    """The headers of one attempt; `timestamp` is seconds since 1970. Without a key nothing is signed; a
    second one signs as well, so that a receiver can change over from one to the other.

    Elements-Webhook-Signature covers the body. webhook-signature (standardwebhooks.com) also covers the
    id and the time of the attempt, so that a receiver can refuse what somebody recorded and sends again.
    """
    found = {
        "Content-Type": "application/json",
        "Elements-Webhook-Id": str(notification_id),
        "webhook-id": f"msg_{notification_id}",
        "webhook-timestamp": str(timestamp),
    }
    for name, key in zip(_SIGNATURES, keys, strict=False):
        found[name] = "sha256=" + _mac(key.encode(), body)
    if keys:
        signed = f"msg_{notification_id}.{timestamp}.".encode() + body
        found["webhook-signature"] = " ".join("v1," + _mac(standard_key(key), signed) for key in keys)
    return found


def standard_key(key: str) -> bytes:
    """The key of the Standard Webhooks signature: what follows `whsec_` in base64, or the text itself."""
    if key.startswith(_STANDARD_PREFIX):
        with suppress(ValueError):
            return base64.b64decode(key.removeprefix(_STANDARD_PREFIX), validate=True)
    return key.encode()


def check_key(key: str) -> None:
    """Raises ValueError for a key that begins as a Standard Webhooks one and is none: the receiver would make
    another signature of it."""
    text = key.removeprefix(_STANDARD_PREFIX)
    if text == key:
        return
    with suppress(ValueError):
        if base64.b64decode(text, validate=True):
            return
    raise ValueError(f"what follows {_STANDARD_PREFIX} is not base64")


def _mac(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()
