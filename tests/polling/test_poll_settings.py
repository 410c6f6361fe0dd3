"""What may be polled, and how: the fields of a resource, and the URLs that are refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import event_settings
from app.errors import BadRequest
from app.event_settings import Resource
from app.polling import resources, templates
from app.polling.resources import Reading
from app.settings import load

SETTINGS = load(_env_file=None)
KEY = "event.poller.configuration"
URL = "/hubs/documents/folders/contents?path=/Shared"
DATES = {
    "updatedDateField": "modifiedDate",
    "updatedDateFormat": "yyyy-MM-dd'T'HH:mm:ssX",
    "updatedDateTimezone": "PST",
}


def parse(**fields: Any) -> Reading:
    return resources.parse("r", {"url": URL, "idField": "id", **fields})


def asked(values: dict[str, Any]) -> dict[str, Resource]:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return dict(event_settings.read(texts, SETTINGS).resources)


def test_what_is_not_named_is_as_cloud_elements_had_it() -> None:
    found = parse()
    assert (found.page_size, found.tolerance, found.delay) == (20, timedelta(seconds=10), timedelta(0))
    assert (found.by_updated, found.until_now, found.newest_first) == (True, False, False)


def test_all_fields_are_read_also_as_texts() -> None:
    found = parse(
        idField="user.id",
        filterByUpdatedDate="False",
        filterByCurrentDate=True,
        createdCheckTolerance="3",
        pageSize="50",
        pollDelay=60,
        datesConfiguration=DATES | {"createdDateField": "createdDate"},
    )
    assert (found.id_field, found.page_size) == ("user.id", 50)
    assert (found.tolerance, found.delay) == (timedelta(seconds=3), timedelta(minutes=1))
    assert (found.by_updated, found.until_now) == (False, True)
    assert (found.updated.name, found.created.name) == ("modifiedDate", "createdDate")


def test_the_created_date_is_written_as_the_updated_one_unless_it_says_otherwise() -> None:
    found = parse(datesConfiguration=DATES)
    assert found.created == found.updated
    assert str(found.created.zone) == "America/Los_Angeles"


def test_what_pages_of_the_time_had_wrong_is_tolerated() -> None:
    found = parse(
        datesConfiguration={"createdCheckTolerance": 7, "createdDateFormat": "yyyy.SSSX'"},
        updatedDateTimezone="PST",
        batchSize=5,
    )
    assert found.tolerance == timedelta(seconds=7)
    assert parse(createdCheckTolerance=2, datesConfiguration={"createdCheckTolerance": 7}).tolerance == (
        timedelta(seconds=2)
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"url": None}, "r.url: is required"),
        ({"url": " "}, "r.url: is required"),
        ({"url": "/search?q=${now}"}, "r.url: .*placeholder"),
        ({"url": "/search?q=" + "x" * 4000}, "r.url: .*longer"),
        ({"idField": 5}, "r.idField"),
        ({"pageSize": 0}, "r.pageSize"),
        ({"pageSize": 1001}, "r.pageSize"),
        ({"pollDelay": -1}, "r.pollDelay"),
        ({"createdCheckTolerance": "soon"}, "r.createdCheckTolerance"),
        ({"filterByUpdatedDate": "maybe"}, "r.filterByUpdatedDate"),
        ({"filterByCurrentDate": 3}, "r.filterByCurrentDate"),
        ({"datesConfiguration": "x"}, "r.datesConfiguration"),
        ({"datesConfiguration": {"updatedDateField": []}}, ""),
        ({"datesConfiguration": {"updatedDateField": 5}}, "r.datesConfiguration.updatedDateField"),
        ({"datesConfiguration": {"createdDateTimezone": "Mars"}}, "r.datesConfiguration.createdDateTimezone"),
    ],
)
def test_a_field_that_cannot_be_followed_is_named(fields: dict[str, Any], named: str) -> None:
    if not named:
        assert parse(**fields).updated.name == ""
        return
    with pytest.raises(BadRequest, match=named):
        parse(**fields)


ISO = "yyyy-MM-dd'T'HH:mm:ss.SSSX"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {"url": URL + "&where=x>'${gmtDate:JJJJ}'"},
            "url: 'JJJJ' is no date pattern: no letter 'J' is known",
        ),
        ({"url": URL + "&where=x>'${gmtDate:}'"}, "url: '${gmtDate:}' has no date pattern"),
        ({"url": URL + "&where=x>'${dateTimeZone:PST:}'"}, "url: '${dateTimeZone:PST:}' has no date pattern"),
        ({"url": URL + "&where=x>'${dateTimeZone:-8:00:dd.bb}'"}, "url: 'dd.bb' is no date pattern"),
        ({"url": URL + "&where=x>'${epoch}' and y>'${epoch'"}, "url: a placeholder lacks its closing brace"),
        (
            {"datesConfiguration": {"updatedDateFormat": "JJJJ"}},
            "datesConfiguration.updatedDateFormat: 'JJJJ'",
        ),
        ({"datesConfiguration": {"createdDateFormat": "yyyyTHH"}}, "datesConfiguration.createdDateFormat: "),
    ],
)
def test_what_java_does_not_know_is_refused_and_lived_with_where_it_is_stored(
    fields: dict[str, Any], named: str
) -> None:
    parse(**fields)
    with pytest.raises(BadRequest, match=re.escape(f"configuration.{KEY}.r.{named}")):
        asked({KEY: {"r": {"url": URL, "idField": "id", **fields}}})


@pytest.mark.parametrize("pattern", [ISO, ISO + "'", "yyyy-MM-dd'THH:mm:ss", "milliseconds", "'o''clock' h"])
def test_a_pattern_of_the_time_passes(pattern: str) -> None:
    url = URL + "&a=${date}&b=${epoch:s}&c=${dateTimeZone:+0530:" + pattern + "}&d=${gmtDate:" + pattern + "}"
    dates = {"updatedDateFormat": pattern, "createdDateFormat": pattern}
    assert asked({KEY: {"r": {"url": url, "idField": "id", "datesConfiguration": dates}}})


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (URL, "/folders/contents?path=/Shared"),
        ("/elements/api-v2/hubs/documents/search?text=a", "/search?text=a"),
        ("search", "/search?"),
        ("/folders/17/contents", "/folders/17/contents?"),
        ("/files/%252FShared%252Fa.txt/revisions", "/files/%252FShared%252Fa.txt/revisions?"),
        ("files/metadata?path=/a", "/files/metadata?path=/a"),
    ],
)
def test_a_list_of_the_own_hub_may_be_polled(url: str, target: str) -> None:
    assert resources.target(url) == target


REFUSED = [
    "http://evil.example.com/hubs/documents/search",
    "//evil.example.com/search",
    "https:/search",
    "/hubs/crm/search",
    "/hubs/documents/crm/search",
    "/instances",
    "/hubs/documents/instances",
    "/elements/api-v2/instances",
    "/native/search",
    "/hubs/documents/native/folders/0/contents",
    "/oauth/search",
    "/folders/../instances/contents",
    "/folders/%2E%2E/contents",
    "/folders/%252E%252E/contents",
    "/folders/a%2Finstances/contents",
    "/folders/..%5C/contents",
    "/hubs/documents/../../instances",
    "/files/17",
    "/files?path=/a",
    "/files/17/links",
    "/folders/links?path=/a",
    "/search%00",
    "/search/x",
    "/accounts",
    "http://[/search",
    "",
]


@pytest.mark.parametrize("url", REFUSED)
def test_nothing_else_may_be_polled(url: str) -> None:
    with pytest.raises(BadRequest, match=rf"configuration\.{KEY}\.r\.url"):
        asked({KEY: {"r": {"url": url, "idField": "id"}}})


@pytest.mark.parametrize(
    "url", ["/hubs/documents/events", "events?x=1", "/hubs/documents/events/poll/documents"]
)
def test_the_stream_of_events_is_the_vendors_own(url: str) -> None:
    assert asked({KEY: {"e": {"url": url, "pageSize": 5, "datesConfiguration": "any"}}}) == {"e": Resource(5)}


def test_the_stream_of_events_is_not_looked_for_at_another_host() -> None:
    with pytest.raises(BadRequest):
        asked({KEY: {"e": {"url": "http://evil.example.com/events"}}})


def test_resources_are_polled_beside_each_other() -> None:
    own = {"url": URL, "idField": "id"}
    found = asked({KEY: {"events": {"url": "/events"}, "a/b": own}})
    assert found == {"events": Resource(20), "a/b": Resource(20, own)}


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_what_no_database_stores_is_refused(text: str) -> None:
    for resource in ({"url": URL, "idField": text}, {"url": URL, "any": [text]}, {"url": URL, text: 1}):
        with pytest.raises(BadRequest, match=rf"configuration\.{KEY}: "):
            asked({KEY: {"r": resource}})


def test_only_what_is_read_is_stored() -> None:
    dates = {**DATES, "createdCheckTolerance": 5}
    own = {"url": URL, "idField": "id", "pageSize": 5, "datesConfiguration": dates}
    more = {**own, "note": ["any"], "datesConfiguration": {**dates, "more": {}}}
    assert asked({KEY: {"r": more}}) == {"r": Resource(5, own)}


def test_there_are_not_too_many_of_them() -> None:
    with pytest.raises(BadRequest, match="more than 20"):
        asked({KEY: {str(number): {"url": "/events"} for number in range(21)}})


def test_an_order_of_the_newest_first_is_known() -> None:
    assert parse(url=URL + "&orderBy=modifiedDate%20desc", datesConfiguration=DATES).newest_first
    assert parse(url=URL + "&orderBy=modifiedDate+desc", datesConfiguration=DATES).newest_first
    assert not parse(url=URL + "&orderBy=modifiedDate", datesConfiguration=DATES).newest_first
    assert not parse(url=URL + "&orderBy=name desc", datesConfiguration=DATES).newest_first


LINE = "search|/search?text=a||modifiedDate|yyyy-MM-dd|GMT|createdDate|yyyy"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("documents", {"documents": "/hubs/documents/events"}),
        ("changes", {"changes": "/hubs/documents/changes"}),
        ("files|folders", {"files": "/hubs/documents/events"}),
        ("folders|search", {"folders": "/hubs/documents/events", "search": "/hubs/documents/search"}),
        (
            "documents|/hubs/documents/events/poll/documents?where=x='${gmtDate:yyyy}'",
            {"documents": "/hubs/documents/events/poll/documents?where=x='${gmtDate:yyyy}'"},
        ),
        (LINE + "\\nevents|/events|", {"search": "/search?text=a", "events": "/events"}),
        ("\n \n", {}),
    ],
)
def test_the_older_form_says_the_same(text: str, found: dict[str, str]) -> None:
    assert {name: resource["url"] for name, resource in resources.legacy(text).items()} == found


def test_two_lines_of_one_name_are_refused_unless_they_say_the_same() -> None:
    other = LINE.replace("text=a", "text=b")
    with pytest.raises(BadRequest, match=r"configuration\.event\.poller\.urls: two lines are named 'search'"):
        asked({"event.poller.urls": f"{LINE}\n{other}"})
    assert list(asked({"event.poller.urls": f"{LINE}\n{LINE}"})) == ["search"]


def test_the_dates_of_the_older_form_are_kept() -> None:
    assert resources.legacy(LINE)["search"]["datesConfiguration"] == {
        "updatedDateField": "modifiedDate",
        "updatedDateFormat": "yyyy-MM-dd",
        "updatedDateTimezone": "GMT",
        "createdDateField": "createdDate",
        "createdDateFormat": "yyyy",
    }


def test_the_older_form_counts_where_there_is_no_newer_one() -> None:
    legacy = {"event.poller.urls": LINE}
    assert asked(legacy)["search"].reading is not None
    assert asked({**legacy, KEY: {"events": {"url": "/events"}}}) == {"events": Resource(20)}
    with pytest.raises(BadRequest, match=r"configuration\.event\.poller\.urls\.contacts\.url"):
        asked({"event.poller.urls": "contacts"})


def test_the_example_of_the_documents_is_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    example = page.split("```json")[1].split("```")[0]
    found = event_settings.read({"event.poller.configuration": example}, SETTINGS).resources
    assert list(found) == ["contracts"]
    reading = resources.parse("contracts", found["contracts"].reading or {})
    assert resources.target(templates.fill(reading.url, datetime(2026, 1, 5, tzinfo=UTC))).startswith(
        "/folders/contents?path=/Contracts"
    )
