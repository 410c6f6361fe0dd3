"""Secrets at rest: AES-256-GCM with the key's id in front and the row's name bound in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import SettingsError

KEY_ID_BYTES = 8
"""What is sealed begins with so many bytes that tell its key."""

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealer:
    """Seals with the first key of the ring and opens with any of them."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ring = {_key_id(key): AESGCM(key) for key in keys}
        self._newest = _key_id(keys[0])

    @property
    def newest(self) -> str:
        """The id of the key that seals."""
        return self._newest.hex()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys that open, in the order of the ring."""
        return tuple(key_id.hex() for key_id in self._ring)

    def seal(self, plain: bytes, row: str) -> bytes:
        """Encrypts `plain` so that only `open` with the same `row` name gives it back."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._newest + nonce + self._ring[self._newest].encrypt(nonce, plain, row.encode())

    def open(self, sealed: bytes, row: str) -> bytes:
        """Raises SettingsError when the key is not in the ring or the bytes are not of this row."""
        rest = sealed[KEY_ID_BYTES:]
        cipher = self._ring.get(sealed[:KEY_ID_BYTES])
        if cipher is None:
            raise SettingsError(f"GATEWAY_ENCRYPTION_KEYS lacks the key {key_id(sealed)} that sealed {row}")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError):  # the latter says that there is no whole nonce
            raise SettingsError(
                f"the sealed secrets of {row} were changed or belong to another row"
            ) from None


def key_id(sealed: bytes) -> str:
    """The id of the key that sealed these bytes."""
    return sealed[:KEY_ID_BYTES].hex()


def parse_keys(text: str, *, source: str = "GATEWAY_ENCRYPTION_KEYS") -> list[bytes]:
    """Reads base64 keys of 32 bytes each, the newest first, separated by commas or line ends. Raises
    SettingsError that names the source of the text, and shows nothing of it."""
    keys = []
    for position, part in enumerate(re.split(r"[,\n]", text.strip()), start=1):
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES:
            raise SettingsError(f"{source}: key {position} is not 32 bytes in base64")
        keys.append(key)
    return keys


def new_key() -> str:
    """A fresh key in the form that GATEWAY_ENCRYPTION_KEYS takes."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def key_from_file(path: Path) -> str:
    """The keys of an embedded database. At its first start one is made, readable by its owner only, and is on
    the disk as a whole before anything is sealed with it; who starts beside it takes the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with suppress(FileExistsError):
            _make(path, new_key() + "\n")
        _sync(path.parent)
    return path.read_text().strip()


def _make(path: Path, text: str) -> None:
    """A file that has all of the text from the moment it is there, except where links are not allowed. Raises
    FileExistsError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _write_through(draft, text)
        try:
            os.link(draft, path)
        except FileExistsError:
            raise
        except OSError:
            _write_through(path, text)
    finally:
        draft.unlink(missing_ok=True)


def _write_through(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A name is only as durable as its folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"elements-gateway key id" + key).digest()[:KEY_ID_BYTES]
