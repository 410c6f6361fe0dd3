"""Secrets at rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.sealing import Sealer, key_from_file, parse_keys

OLD, NEW = ("b2xk" * 10 + "b2w=", "bmV3" * 10 + "bmU=")


def ring(*keys: str) -> Sealer:
    return Sealer(parse_keys(",".join(keys)))


def test_what_is_sealed_can_be_opened_and_does_not_show() -> None:
    sealed = ring(OLD).seal(b"secret", "row/1")
    assert b"secret" not in sealed
    assert sealed != ring(OLD).seal(b"secret", "row/1")
    assert ring(OLD).open(sealed, "row/1") == b"secret"


def test_an_older_key_of_the_ring_still_opens() -> None:
    sealed = ring(OLD).seal(b"secret", "row/1")
    assert ring(NEW, OLD).open(sealed, "row/1") == b"secret"
    with pytest.raises(SettingsError, match="GATEWAY_ENCRYPTION_KEYS lacks the key"):
        ring(NEW).open(sealed, "row/1")


@pytest.mark.parametrize("position", [10, 25, -1])
def test_another_row_or_a_changed_byte_is_refused(position: int) -> None:
    sealed = ring(OLD).seal(b"secret", "row/1")
    with pytest.raises(SettingsError, match="row/2"):
        ring(OLD).open(sealed, "row/2")
    changed = bytearray(sealed)
    changed[position] ^= 1
    with pytest.raises(SettingsError):
        ring(OLD).open(bytes(changed), "row/1")


@pytest.mark.parametrize("text", ["", "abc", "c2hvcnQ=", f"{OLD},", "not base64!"])
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_keys(text)
    assert "GATEWAY_ENCRYPTION_KEYS: key" in caught.value.message
    assert OLD not in caught.value.message


def test_the_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gateway.key"
    made = key_from_file(path)
    assert key_from_file(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(parse_keys(made)) == 1
