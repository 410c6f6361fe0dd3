"""One poll of a resource: which rows are news, and of what kind. The surface is a list of pages here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, GatewayError, VendorNotFound, VendorThrottled, VendorUnavailable
from app.hubs.documents import ChangePage
from app.polling import reading
from app.polling.inside import Answer
from app.store.tables import Instance, Poller

NOW = datetime(2026, 1, 5, 12, 0, 0, 500000, tzinfo=UTC)
SINCE = "2026-01-05T11:00:00.500Z"
DATES = {"updatedDateField": "modifiedDate", "createdDateField": "createdDate"}


class Surface:
    """Answers pages of rows; a token is the number of its page."""

    def __init__(self, *pages: Any, status: int = 200, error: GatewayError | None = None) -> None:
        self.pages = pages or ([],)
        self.status, self.error = status, error
        self.asked: list[str] = []
        self.ended: set[str] = set()
        self.short_lived = False  # a token then ends with the step that got it

    async def call(
        self,
        instance: Instance,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        patience: timedelta | None = None,
    ) -> Answer:
        assert (method, body) == ("GET", None)
        self.asked.append(target)
        query = parse_qs(urlsplit(target).query)
        token = query.get("nextPage", ["0"])[0]
        if token in self.ended or (self.short_lived and len(self.asked) == 1 and token != "0"):
            return Answer(400, b'{"message": "nextPage: has ended"}')
        following = str(int(token) + 1) if int(token) + 1 < len(self.pages) else None
        body = json.dumps(self.pages[int(token)]).encode()
        return Answer(self.status, body, following, self.error)


def row(modified: str, created: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"id": "7", "name": "a.txt", "modifiedDate": modified, "createdDate": created, **more}


async def poll(
    surface: Surface, *, cursor: str = SINCE, now: datetime = NOW, failures: int = 0, **fields: Any
) -> ChangePage:
    how = {"url": "/search?text=a", "idField": "id", "datesConfiguration": DATES, **fields}
    rows: list[dict[str, Any]] = [
        {"id": 1},
        {"id": 1, "resource": "found", "reading": how, "failures": failures},
    ]
    instance, poller = Instance(**rows[0]), Poller(**rows[1])
    return await reading.read(surface, instance, poller, cursor=cursor, now=now)


async def kinds(*rows: dict[str, Any], **fields: Any) -> list[str]:
    return [change.event_type for change in (await poll(Surface(list(rows)), **fields)).changes]


@pytest.mark.parametrize(
    ("modified", "created", "kind"),
    [
        ("2026-01-05T11:30:00Z", "2026-01-05T11:30:00Z", ["CREATED"]),
        ("2026-01-05T11:30:10Z", "2026-01-05T11:30:00Z", ["CREATED"]),
        ("2026-01-05T11:30:00Z", "2026-01-05T11:30:10Z", ["CREATED"]),
        ("2026-01-05T11:30:11Z", "2026-01-05T11:30:00Z", ["UPDATED"]),
        ("2026-01-05T10:59:58Z", "2026-01-01T00:00:00Z", ["UPDATED"]),  # a clock that is behind
        ("2026-01-05T10:58:59Z", "2026-01-05T10:58:59Z", []),
        ("2026-01-05T11:00:00.500Z", "2026-01-01T00:00:00Z", ["UPDATED"]),
        ("2026-01-05T10:59:00.500Z", "2026-01-01T00:00:00Z", []),
        ("2026-01-05T10:59:00.501Z", "2026-01-01T00:00:00Z", ["UPDATED"]),
        ("2026-01-05T10:59:00Z", "2026-01-01T00:00:00Z", ["UPDATED"]),  # perhaps behind the half second
        ("9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z", ["UPDATED"]),  # the edges of the calendar
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", []),
        ("2026-01-05T13:00:00Z", "2026-01-01T00:00:00Z", ["UPDATED"]),  # a clock that is ahead
        ("2026-01-05T12:00:00Z", "2026-01-01T00:00:00Z", []),  # this very second: the next poll has it
        ("soon", "2026-01-01T00:00:00Z", ["UNKNOWN"]),
    ],
)
async def test_dates_decide_what_a_row_is(modified: str, created: str, kind: list[str]) -> None:
    assert await kinds(row(modified, created)) == kind


async def test_the_tolerance_between_creation_and_change_can_be_set() -> None:
    item = row("2026-01-05T11:30:10Z", "2026-01-05T11:30:00Z")
    assert await kinds(item, createdCheckTolerance=9) == ["UPDATED"]


async def test_without_a_created_date_everything_is_new() -> None:
    only = {"updatedDateField": "modifiedDate"}
    assert await kinds(row("2026-01-05T11:30:00Z"), datesConfiguration=only) == ["CREATED"]


async def test_the_created_date_rules_where_the_updated_one_does_not() -> None:
    old = row("2026-01-05T11:30:00Z", "2026-01-05T10:00:00Z")
    new = row("2026-01-05T11:50:00Z", "2026-01-05T11:30:00Z")
    assert await kinds(old, new, filterByUpdatedDate=False) == ["UPDATED"]


async def test_what_changes_during_a_poll_can_be_left_for_the_next_one() -> None:
    later = row("2026-01-05T12:00:07Z")
    assert await kinds(later) == ["UPDATED"]
    assert await kinds(later, filterByCurrentDate=True) == []
    following = NOW + timedelta(minutes=1)
    assert await kinds(later, filterByCurrentDate=True, cursor=reading.position(NOW), now=following) == [
        "UPDATED"
    ]


async def test_dates_are_read_by_their_pattern_in_their_zone() -> None:
    dates = {"updatedDateField": "when", "updatedDateFormat": "d.M.yyyy HH:mm", "updatedDateTimezone": "PST"}
    page = await poll(Surface([{"id": 1, "when": "5.1.2026 03:30"}]), datesConfiguration=dates)
    assert [change.date for change in page.changes] == [datetime(2026, 1, 5, 11, 30, tzinfo=UTC)]


async def test_a_day_is_news_until_its_end() -> None:
    dates = {"updatedDateField": "day", "updatedDateFormat": "yyyy-MM-dd"}
    rows = [{"id": 1, "day": "2026-01-04"}, {"id": 2, "day": "2026-01-05"}]
    page = await poll(Surface(rows), datesConfiguration=dates)
    assert [change.object_id for change in page.changes] == ["2"]


async def test_a_date_that_the_pattern_does_not_read_counts_as_far_as_it_tells() -> None:
    dates = {"updatedDateField": "when", "updatedDateFormat": "JJJJ"}
    written = ["2026-01-05T10:30:00Z", "2026-01-05T11:30:00Z", "2026-01-05", "2026-01-04"]
    page = await poll(Surface([{"id": day, "when": day} for day in written]), datesConfiguration=dates)
    assert [change.object_id for change in page.changes] == written[1:3]


async def test_a_day_at_the_end_of_the_calendar_is_news() -> None:
    dates = {"updatedDateField": "expiry", "updatedDateFormat": "yyyy-MM-dd"}
    rows = [{"id": 1, "expiry": "9999-12-31"}, {"id": 2, "expiry": "0001-01-01"}]
    page = await poll(Surface(rows), datesConfiguration=dates)
    assert [change.object_id for change in page.changes] == ["1"]


async def test_without_a_configuration_of_dates_the_hubs_own_ones_count() -> None:
    rows = [row("2026-01-05T11:30:00Z"), {"event_date": "2026-01-05T10:30:00.000Z", "id": 1}]
    assert await kinds(*rows, datesConfiguration=None) == ["UPDATED"]


async def test_a_row_that_says_its_type_is_believed() -> None:
    item = row("2026-01-05T11:30:00Z", event_type="DELETED", event_object_type="folder", event_id="9")
    (change,) = (await poll(Surface([item]))).changes
    assert (change.event_type, change.object_type) == ("DELETED", "folder")


async def test_a_change_carries_its_row_and_what_is_known_of_it() -> None:
    item = row("2026-01-05T11:30:00Z", path="/a.txt", parentFolderId="3", user={"id": 5})
    (change,) = (await poll(Surface([item]), idField="user.id")).changes
    assert (change.object_id, change.object_type, change.path) == ("5", "found", "/a.txt")
    assert (change.body, change.parent_object_id) == (item, "3")


@pytest.mark.parametrize("id_field", ["", "nowhere.id"])
async def test_without_an_id_field_the_id_is_the_rows_own(id_field: str) -> None:
    (change,) = (await poll(Surface([row("2026-01-05T11:30:00Z")]), idField=id_field)).changes
    assert change.object_id == "7"


async def test_the_key_of_a_change_is_that_of_its_object_and_date() -> None:
    async def key(modified: str, **more: Any) -> str:
        return (await poll(Surface([row(modified, **more)]))).changes[0].event_id

    assert await key("2026-01-05T11:30:00.120Z") == await key("2026-01-05T11:30:00.12Z", name="b")
    assert await key("2026-01-05T11:30:00Z") == await key("2026-01-05T11:30:00Z")
    assert await key("2026-01-05T11:30:00Z") != await key("2026-01-05T11:30:00Z", name="b")  # in one second
    assert await key("2026-01-05T11:30:00Z") != await key("2026-01-05T11:30:01Z")
    assert await key("2026-01-05T11:30:00Z") != await key("2026-01-05T11:30:00Z", id="8")
    assert await key("soon") == await key("soon")
    assert await key("soon") != await key("soon", name="b")  # of no date: it looks different now


async def test_pages_are_read_to_the_end_and_the_cursor_is_the_time_of_the_poll() -> None:
    surface = Surface([row("2026-01-05T11:30:00Z", id="1")], [], [row("2026-01-05T11:30:00Z", id="2")])
    page = await poll(surface)
    assert [change.object_id for change in page.changes] == ["1", "2"]
    assert (page.cursor, page.more) == ("2026-01-05T12:00:00.500Z", False)
    assert surface.asked[0] == "/search?text=a&pageSize=20"
    assert surface.asked[1] == "/search?text=a&pageSize=20&nextPage=1"


async def test_old_rows_end_a_list_that_has_the_newest_first() -> None:
    old, new = row("2026-01-05T10:30:00Z"), row("2026-01-05T11:30:00Z")
    ordered = Surface([new, old], [old])
    await poll(ordered, url="/search?orderBy=modifiedDate desc")
    assert len(ordered.asked) == 1
    any_order = Surface([new, old], [new | {"id": "8"}])
    assert len((await poll(any_order)).changes) == 2


async def test_a_long_list_is_read_in_steps_without_loss() -> None:
    surface = Surface(*([row("2026-01-05T11:30:00Z", id=str(number))] for number in range(25)))
    cursor, steps, seen = SINCE, 0, []
    later = NOW
    while True:
        page = await poll(surface, cursor=cursor, now=later)
        seen += [change.object_id for change in page.changes]
        cursor, steps, later = page.cursor, steps + 1, later + timedelta(minutes=1)
        if not page.more:
            break
    assert (steps, seen) == (3, [str(number) for number in range(25)])
    assert cursor == "2026-01-05T12:00:00.500Z"  # when the first step began


async def test_a_slow_resource_ends_its_step_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.polling.reading._STEP", -1.0)
    page = await poll(Surface([row("2026-01-05T11:30:00Z")], [row("2026-01-05T11:30:00Z", id="8")]))
    assert (len(page.changes), page.more) == (1, True)


async def test_a_token_that_has_ended_meanwhile_starts_the_poll_again() -> None:
    surface = Surface(*([row("2026-01-05T11:30:00Z", id=str(number))] for number in range(12)))
    page = await poll(surface)
    surface.ended = {"10"}
    again = await poll(surface, cursor=page.cursor)
    assert again.changes[0].object_id == "0"
    with pytest.raises(BadRequest, match="has ended"):
        await poll(surface, cursor=again.cursor.replace('"10"', '"9"'))


async def test_a_list_whose_tokens_always_end_between_its_steps_is_a_failure() -> None:
    surface = Surface(*([row("2026-01-05T11:30:00Z", id=str(number))] for number in range(25)))
    surface.short_lived = True
    cursor = SINCE
    for _ in range(3):
        surface.asked.clear()
        cursor = (await poll(surface, cursor=cursor)).cursor
    surface.asked.clear()
    with pytest.raises(BadRequest, match="has ended"):
        await poll(surface, cursor=cursor)
    surface.asked.clear()
    assert (await poll(surface, cursor=cursor, failures=1)).changes, "after a rest it is tried again"


async def test_the_url_is_filled_with_the_last_poll_minus_the_delay() -> None:
    surface = Surface([row("2026-01-05T10:58:30Z")])
    page = await poll(surface, url="/search?text=${gmtDate:HH:mm:ss}", pollDelay=120)
    assert surface.asked == ["/search?text=10%3A58%3A00&pageSize=20"]
    assert len(page.changes) == 1  # what the vendor showed late is not lost


async def test_a_page_size_of_the_url_stays() -> None:
    surface = Surface()
    await poll(surface, url="/search?pageSize=5")
    assert surface.asked == ["/search?pageSize=5"]


async def test_one_object_is_one_row() -> None:
    assert len((await poll(Surface(row("2026-01-05T11:30:00Z")))).changes) == 1


@pytest.mark.parametrize("error", [VendorThrottled("slowly", retry_after=7), VendorUnavailable("away")])
async def test_an_error_of_the_vendor_is_that_of_the_poll(error: GatewayError) -> None:
    with pytest.raises(type(error)) as caught:
        await poll(Surface(status=error.status, error=error))
    assert caught.value is error


async def test_a_folder_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(VendorNotFound, match="polled resource"):
        await poll(Surface(status=404, error=VendorNotFound()))


VALUES = st.none() | st.text(max_size=8) | st.integers() | st.booleans()
NAMES = st.sampled_from(["id", "modifiedDate", "createdDate", "event_type"])


@given(st.lists(st.dictionaries(NAMES, VALUES)))
async def test_any_row_is_a_change_or_no_news(rows: list[dict[str, Any]]) -> None:
    page = await poll(Surface(rows))
    undated = [item for item in rows if item.get("modifiedDate") in (None, "")]
    assert len(page.changes) >= len(undated)
