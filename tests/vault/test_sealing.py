"""Secrets at rest."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.vault.sealing import Sealer, key_from_file, key_id, parse_keys

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


@pytest.mark.parametrize("length", [0, 7, 8, 9, 15, 19, 20, 35])
def test_what_was_cut_off_is_refused_by_name(length: int) -> None:
    sealed = ring(OLD).seal(b"secret", "row/1")
    with pytest.raises(SettingsError, match="row/1"):
        ring(OLD).open(sealed[:length], "row/1")


def test_keys_are_separated_by_commas_or_lines_and_the_first_one_seals() -> None:
    for text in (f"{NEW},{OLD}", f"{NEW}\n{OLD}\n", f" {NEW} ,\t{OLD}"):
        sealer = Sealer(parse_keys(text))
        assert sealer.key_ids == (ring(NEW).newest, ring(OLD).newest)
        assert key_id(sealer.seal(b"secret", "row/1")) == ring(NEW).newest


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
    assert [item.name for item in path.parent.iterdir()] == ["gateway.key"]


def test_a_key_file_is_made_where_links_are_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "gateway.key"
    assert len(parse_keys(key_from_file(path))) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        key_from_file(tmp_path / "gateway.key")
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_together_take_one_key(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    with ThreadPoolExecutor(8) as crowd:
        assert len(set(crowd.map(lambda _: key_from_file(path), range(8)))) == 1
