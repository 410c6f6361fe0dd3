"""Ids that are known before their rows are written."""

from __future__ import annotations

import time

import pytest

from app import ids


def test_ids_are_positive_numbers_of_63_bits_and_no_two_are_equal() -> None:
    made = [ids.new_id() for _ in range(50_000)]
    assert len(set(made)) == len(made)
    assert 0 < min(made) <= max(made) < 2**63


def test_a_later_millisecond_gives_a_larger_id(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(time.time_ns(), 2**63 - 1, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [ids.new_id() for _ in range(1000)]
    assert made == sorted(made)


def test_ids_still_fit_when_this_code_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    year_2090 = 3_786_912_000 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: year_2090)
    assert 0 < ids.new_id() < 2**63
