"""Bytes as text that can stand anywhere in a URL: RFC 4648, section 5, without the padding."""

from __future__ import annotations

import base64


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Raises ValueError for what is none."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
