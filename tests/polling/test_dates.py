"""Dates as Java writes them: expected values are Java's, worked out by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import PATIENCE

from app.polling import dates

MOMENT = datetime(2026, 1, 5, 13, 4, 9, 120000, tzinfo=UTC)  # a Monday
MIDNIGHT = datetime(2026, 12, 31, 0, 0, tzinfo=UTC)  # a Thursday, the day 365
EGNYTE = "yyyy-MM-dd'T'HH:mm:ss.SSSX'"


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("yyyy-MM-dd'T'HH:mm:ss'Z'", "2026-01-05T13:04:09Z"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2026-01-05T13:04:09.120Z"),
        (EGNYTE, "2026-01-05T13:04:09.120Z"),
        ("yyyy-MM-dd'THH:mm:ss", "2026-01-05T13:04:09"),
        ("EEE, d MMM yyyy HH:mm:ss z", "Mon, 5 Jan 2026 13:04:09 GMT"),
        ("EEEE, MMMM dd, yy", "Monday, January 05, 26"),
        ("h:mm a", "1:04 PM"),
        ("KK k", "01 13"),
        ("D w F u", "5 2 1 1"),
        ("yyyyMMddHHmmss", "20260105130409"),
        ("'o''clock' ''", "o'clock '"),
        ("S", "1"),
        ("SSSSSS", "120000"),
        ("Z", "+0000"),
        ("milliseconds", "1767618249120"),
        ("GG yyyy", "AD 2026"),
        ("jj/MM", "jj/01"),
        ("", ""),
    ],
)
def test_a_pattern_is_written_as_java_writes_it(pattern: str, written: str) -> None:
    assert dates.write(MOMENT, pattern) == written


@pytest.mark.parametrize(
    ("pattern", "written"), [("h a", "12 AM"), ("K", "0"), ("k", "24"), ("H", "0"), ("D", "365")]
)
def test_midnight_is_another_hour_in_each_way_of_counting(pattern: str, written: str) -> None:
    assert dates.write(MIDNIGHT, pattern) == written


@pytest.mark.parametrize(
    ("zone", "written"),
    [
        ("GMT", "13:04 Z"),
        ("UTC", "13:04 Z"),
        ("", "13:04 Z"),
        ("PST", "05:04 -08"),
        ("-8:00", "05:04 -08"),
        ("+0530", "18:34 +05"),
        ("GMT+2", "15:04 +02"),
        ("EST", "08:04 -05"),
        ("Europe/Paris", "14:04 +01"),
    ],
)
def test_a_zone_shifts_the_clock(zone: str, written: str) -> None:
    assert dates.write(MOMENT, "HH:mm X", dates.zone(zone)) == written


def test_a_place_has_summer_time() -> None:
    july = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert dates.write(july, "HH z XX XXX Z", dates.zone("PST")) == "05 PDT -0700 -07:00 -0700"


@pytest.mark.parametrize("zone", ["Mars/Base", "+99:00", "local", "../etc/passwd", "GMT+x", "a" * 300])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match=r"zone|offset|timedelta"):
        dates.zone(zone)


@pytest.mark.parametrize(
    ("text", "pattern", "zone", "moment"),
    [
        ("2026-01-05T13:04:09.120Z", EGNYTE, "GMT", MOMENT),
        ("2026-01-05T05:04:09.120-08", EGNYTE, "GMT", MOMENT),
        ("2026-01-05T18:34:09.120+05:30", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "GMT", MOMENT),
        ("2026-01-05 05:04:09.12", "yyyy-MM-dd HH:mm:ss.SSS", "PST", MOMENT),
        ("05/Jan/26 1:04:09.120 pm", "dd/MMM/yy h:mm:ss.SSS a", "GMT", MOMENT),
        ("20260105130409120", "yyyyMMddHHmmssSSS", "GMT", MOMENT),
        ("1767618249120", "milliseconds", "PST", MOMENT),
        ("Mon, 05 Jan 2026 08:04:09.120 EST", "EEE, dd MMM yyyy HH:mm:ss.SSS z", "GMT", MOMENT),
        ("2026-365", "yyyy-D", "GMT", MIDNIGHT),
        ("31.12.2026 24", "dd.MM.yyyy k", "GMT", MIDNIGHT),
    ],
)
def test_a_text_is_read_back(text: str, pattern: str, zone: str, moment: datetime) -> None:
    assert dates.read(text, pattern, dates.zone(zone)) == moment


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2026-01-05", EGNYTE),
        ("2026-02-30", "yyyy-MM-dd"),
        ("2026-13-01", "yyyy-MM-dd"),
        ("soon", "milliseconds"),
        ("9" * 30, "milliseconds"),
        ("", "yyyy"),
        ("2026 Foo", "yyyy MMM"),
        ("10:00 XYZ", "HH:mm z"),
    ],
)
def test_a_text_of_another_form_is_no_date(text: str, pattern: str) -> None:
    assert dates.read(text, pattern) is None


@pytest.mark.parametrize(
    ("pattern", "tells"),
    [("yyyy-MM-dd", False), ("yyyy-MM-dd'H'", False), ("dd h a", True), ("milliseconds", True)],
)
def test_a_pattern_without_hours_tells_the_day_only(pattern: str, tells: bool) -> None:
    assert dates.has_times(pattern) is tells


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001
    st.sampled_from(
        [
            "yyyy-MM-dd'T'HH:mm:ss.SSSSSSX",
            "yyyyMMddHHmmssSSSSSSZ",
            "EEEE d MMMM yyyy hh:mm:ss.SSSSSS a XXX",
            "SSSSSS ss mm k D yyyy z",
            "''yy''yyyy/M/d K:m:s.SSSSSS a XX",
        ]
    ),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_was_written_is_read_as_it_was(moment: datetime, pattern: str, minutes: int) -> None:
    moment = moment.replace(tzinfo=UTC)
    zone = timezone(timedelta(minutes=minutes - minutes % 60))  # a single X has whole hours
    assert dates.read(dates.write(moment, pattern, zone), pattern) == moment


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_and_any_text_are_a_date_or_none(text: str, pattern: str) -> None:
    found = dates.read(text, pattern)
    assert found is None or found.tzinfo is UTC
    assert isinstance(dates.write(MOMENT, pattern), str)


@pytest.mark.parametrize("pattern", ["zZX" * 20, "y1" * 30 + "Z", "MMM'x'" * 20, "zEzMzazG" * 10])
@pytest.mark.parametrize("text", ["a" * 58 + "!!", "1" * 58 + "!", "a1" * 45, "a" * 100_000])
def test_no_pattern_and_no_text_take_long(pattern: str, text: str) -> None:
    began = time.process_time()
    assert dates.read(text, pattern) is None
    assert time.process_time() - began < PATIENCE  # of this process; a pattern that goes back takes for ever


@pytest.mark.parametrize(
    "text", ["+5", "+05", "+530", "+0530", "+5:30", "GMT+05:30", "UTC", "PST", "Asia/Tokyo"]
)
def test_a_zone_is_read_whole(text: str) -> None:
    assert dates.read(f"2026 {text} 01", "yyyy z MM") == datetime(2026, 1, 1, tzinfo=dates.zone(text))
