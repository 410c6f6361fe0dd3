"""The bytes of a file: what the vendor says beside them is passed on, or nothing of its answer stays open."""

from __future__ import annotations

import httpx
import pytest

from app.api import answers
from app.hubs.entries import Download

ETAG = '"größe €"'.encode()


async def test_a_header_is_passed_on_byte_for_byte() -> None:
    answer = await answers.passed_on(Download("a", httpx.Response(200, headers=[(b"etag", ETAG)])))
    assert (b"etag", ETAG) in answer.raw_headers


async def test_a_name_in_utf_8_that_the_vendor_gives_is_read() -> None:
    given = 'attachment; filename="größe €"'.encode()
    vendor = httpx.Response(200, headers=[(b"content-disposition", given)])
    answer = await answers.passed_on(Download(None, vendor))
    assert "filename*=UTF-8''gr%C3%B6%C3%9Fe%20%E2%82%AC" in answer.headers["content-disposition"]


async def test_a_file_that_cannot_be_passed_on_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(answers, "_disposition")
    vendor = httpx.Response(200, stream=httpx.ByteStream(b"bytes"))
    assert not vendor.is_closed
    with pytest.raises(NameError):
        await answers.passed_on(Download("a", vendor))
    assert vendor.is_closed
