"""Placeholders in URLs: expected values are worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.polling import templates

SINCE = datetime(2026, 1, 5, 13, 4, 9, 120456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("/search", "/search"),
        ("/s?a=${epoch}", "/s?a=1767618249120"),
        ("/s?a=${epoch:ms}", "/s?a=1767618249120"),
        ("/s?a=${epoch:s}", "/s?a=1767618249"),
        ("/s?a=${epoch:us}", "/s?a=1767618249120456"),
        ("/s?a=${date}", "/s?a=1767618249120"),
        ("/s?a=${gmtDate:yyyy-MM-dd}&b=${date:HH}", "/s?a=2026-01-05&b=13"),
        ("/s?a=${gmtDate:yyyy-MM-dd'T'HH:mm:ss'Z'}", "/s?a=2026-01-05T13%3A04%3A09Z"),
        ("/s?a=${dateTimeZone:PST:HH:mm Z}", "/s?a=05%3A04%20-0800"),
        ("/s?a=${dateTimeZone:-8:00:HH:mm}", "/s?a=05%3A04"),
        ("/s?a=${dateTimeZone:+0530:HH:mmZ}", "/s?a=18%3A34%2B0530"),
        ("/s?a=${gmtDate:'a&b=c#'}", "/s?a=a%26b%3Dc%23"),
        ("/s?where=x>='${epoch:s}' and y", "/s?where=x%3E='1767618249'%20and%20y"),
        ("/s?where=x%20%3E%3D%20'${epoch:s}'&p=50%", "/s?where=x%20%3E%3D%20'1767618249'&p=50%25"),
        ("/s?a=\u00fc#b", "/s?a=%C3%BC%23b"),
        ("/s?a=${", "/s?a=$%7B"),
    ],
)
def test_a_url_is_filled_and_encoded(url: str, filled: str) -> None:
    assert templates.fill(url, SINCE) == filled


@pytest.mark.parametrize(
    "url", ["${}", "${now}", "${epoch:min}", "${dateTimeZone:PST}", "${dateTimeZone:Mars:HH}", "${date(HH)}"]
)
def test_what_is_no_placeholder_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|zone"):
        templates.fill(url, SINCE)


@given(st.text(st.characters(exclude_characters="$%", exclude_categories=["Cs"])))
def test_what_was_encoded_means_what_it_meant(text: str) -> None:
    filled = templates.fill(text, SINCE)
    assert unquote(filled) == text
    assert filled.isascii()
