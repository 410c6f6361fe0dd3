"""Secrets at rest: AES-256-GCM with the key's id in front and the row's name bound in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import SettingsError

_KEY_BYTES = 32
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12


class Sealer:
    """Seals with the first key of the ring and opens with any of them."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ring = {_key_id(key): AESGCM(key) for key in keys}
        self._newest = _key_id(keys[0])

    def seal(self, plain: bytes, row: str) -> bytes:
        """Encrypts `plain` so that only `open` with the same `row` name gives it back."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._newest + nonce + self._ring[self._newest].encrypt(nonce, plain, row.encode())

    def open(self, sealed: bytes, row: str) -> bytes:
        """Raises SettingsError when the key is not in the ring or the bytes are not of this row."""
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        cipher = self._ring.get(key_id)
        if cipher is None:
            raise SettingsError(f"GATEWAY_ENCRYPTION_KEYS lacks the key {key_id.hex()} that sealed {row}")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], row.encode())
        except InvalidTag:
            raise SettingsError(
                f"the sealed secrets of {row} were changed or belong to another row"
            ) from None


def parse_keys(text: str) -> list[bytes]:
    """Reads comma-separated base64 keys of 32 bytes each, the newest first. Raises SettingsError."""
    keys = []
    for position, part in enumerate(text.split(","), start=1):
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES:
            raise SettingsError(f"GATEWAY_ENCRYPTION_KEYS: key {position} is not 32 bytes in base64")
        keys.append(key)
    return keys


def new_key() -> str:
    """A fresh key in the form that GATEWAY_ENCRYPTION_KEYS takes."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def key_from_file(path: Path) -> str:
    """Reads the key of an embedded database, and makes it (readable by its owner only) at the first start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        key = new_key()
        file.write(key + "\n")
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"elements-gateway key id" + key).digest()[:_KEY_ID_BYTES]
