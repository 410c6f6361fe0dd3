"""What the sandbox breaks on request, and what it limits."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from acme import Acme

from app.sandbox.egnyte import gate


class StoppedClock(datetime):
    """It is always the same second of the same day."""

    @classmethod
    def now(cls, tz: Any = None) -> StoppedClock:
        return cls(2026, 1, 5, 10, tzinfo=UTC)


def ask(acme: Acme, path: str = "/pubapi/v1/userinfo") -> httpx.Response:
    return acme.http.get(path)


@pytest.mark.parametrize("kind", ["400", "401", "403", "404", "409", "429", "500", "502", "503", "504"])
def test_a_status_is_answered_as_often_as_ordered(acme: Acme, kind: str) -> None:
    acme.fault(kind, times=2, retry_after=1.5)
    answers = [ask(acme) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [int(kind), int(kind), 200]
    assert answers[0].headers["retry-after"] == "1.5"


def test_a_kind_may_be_a_number(acme: Acme) -> None:
    acme.control("faults", kind=503)
    assert ask(acme).status_code == 503


def test_a_fault_hits_only_its_path(acme: Acme) -> None:
    acme.fault("500", path="/pubapi/v[12]/events")
    assert ask(acme).status_code == 200
    assert ask(acme, "/pubapi/v1/events/cursor").status_code == 500
    assert ask(acme, "/pubapi/v1/events/cursor").status_code == 200


def test_a_fault_may_wait_for_its_turn(acme: Acme) -> None:
    acme.fault("500", after=2)
    assert [ask(acme).status_code for _ in range(4)] == [200, 200, 500, 200]


def test_a_lasting_fault_ends_when_it_is_cleared(acme: Acme) -> None:
    acme.fault("500", times=None)
    assert {ask(acme).status_code for _ in range(5)} == {500}
    acme.steering.delete("/control/egnyte/acme/faults").raise_for_status()
    assert ask(acme).status_code == 200


def test_waiting_faults_are_listed_with_the_kinds(acme: Acme) -> None:
    acme.fault("cut", times=3)
    listed = acme.steering.get("/control/egnyte/acme/faults").json()
    assert [fault["kind"] for fault in listed["waiting"]] == ["cut"]
    assert {"slow", "cut_midway", "mashery_qps", "expire_tokens"} <= set(listed["kinds"])


@pytest.mark.parametrize("order", [{"kind": "magic"}, {"kind": "429", "path": "("}, {"kind": "429", "x": 1}])
def test_an_order_that_means_nothing_is_refused(acme: Acme, order: dict[str, Any]) -> None:
    assert acme.steering.post("/control/egnyte/acme/faults", json=order).status_code == 422


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("mashery_qps", "ERR_403_DEVELOPER_OVER_QPS"),
        ("mashery_rate", "ERR_403_DEVELOPER_OVER_RATE"),
        ("mashery_inactive", "ERR_403_DEVELOPER_INACTIVE"),
    ],
)
def test_the_api_gateway_refuses_in_html(acme: Acme, kind: str, code: str) -> None:
    acme.fault(kind)
    refused = ask(acme)
    assert refused.status_code == 403
    assert refused.headers["x-mashery-error-code"] == code
    assert refused.text.startswith("<h1>Developer")
    assert ("retry-after" in refused.headers) is (kind != "mashery_inactive")


def test_a_slow_answer_is_late_and_right(acme: Acme) -> None:
    acme.fault("slow", seconds=0.2)
    began = time.monotonic()
    assert ask(acme).json()["username"] == "jsmith"
    assert time.monotonic() - began >= 0.2


def test_a_cut_answers_nothing_at_all(acme: Acme) -> None:
    acme.fault("cut")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask(acme)
    assert ask(acme).status_code == 200


def test_a_cut_upload_never_happened(acme: Acme) -> None:
    acme.fault("cut")
    with pytest.raises(httpx.TransportError):
        acme.http.post("/pubapi/v1/fs-content/Shared/a.txt", content=b"x" * 1_000_000)
    assert ask(acme, "/pubapi/v1/fs/Shared/a.txt").status_code == 404


def test_a_cut_midway_breaks_a_download_but_not_what_it_did(acme: Acme) -> None:
    acme.fault("cut_midway", path="/pubapi/v1/fs-content")
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        acme.http.post("/pubapi/v1/fs-content/Shared/a.txt", content=b"x")
    assert ask(acme, "/pubapi/v1/fs-content/Shared/a.txt").content == b"x"


def test_html_and_broken_json_come_with_a_good_status(acme: Acme) -> None:
    acme.fault("html")
    acme.fault("bad_json")
    page, broken = ask(acme), ask(acme)
    assert (page.status_code, broken.status_code) == (200, 200)
    assert page.headers["content-type"].startswith("text/html")
    with pytest.raises(ValueError, match="Expecting"):
        broken.json()


def test_tokens_can_end_with_a_request(acme: Acme) -> None:
    acme.fault("expire_tokens", after=1)
    assert [ask(acme).status_code for _ in range(3)] == [200, 401, 401]


def test_events_come_twice_or_in_the_wrong_order(acme: Acme) -> None:
    acme.change("upload", "/Shared/{n}.txt", count=3)
    events = "/pubapi/v2/events?id=0"
    right = [event["id"] for event in ask(acme, events).json()["events"]]
    acme.fault("duplicate_events")
    acme.fault("reorder_events")
    twice, wrong = ask(acme, events).json(), ask(acme, events).json()
    assert [event["id"] for event in twice["events"]] == [number for number in right for _ in range(2)]
    assert [event["id"] for event in wrong["events"]] == right[::-1]
    assert wrong["latest_id"] == right[-1]


def test_there_is_no_limit_unless_one_is_set(acme: Acme) -> None:
    answers = [ask(acme) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "x-accesstoken-qps-allotted" not in answers[0].headers


def test_calls_per_second_are_counted_per_token(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "datetime", StoppedClock)
    acme.configure(qps=2)
    other = {"Authorization": f"Bearer {acme.token()['access_token']}"}
    answers = [ask(acme) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 403, 403, 403]
    assert answers[0].headers["x-accesstoken-qps-allotted"] == "2"
    assert answers[0].headers["x-accesstoken-qps-current"] == "1"
    assert acme.http.get("/pubapi/v1/userinfo", headers=other).status_code == 200
    monkeypatch.setattr(gate, "datetime", datetime)
    assert ask(acme).status_code == 200


def test_a_daily_quota_is_over_until_midnight(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "datetime", StoppedClock)
    acme.configure(daily_quota=2, throttle="429")
    answers = [ask(acme) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) == 14 * 3600 + 1
    assert answers[2].headers["x-accesstoken-quota-current"] == "3"
    assert answers[2].headers["x-quota-reset"].endswith("12:00:00 AM GMT")


def test_an_unknown_setting_is_refused(acme: Acme) -> None:
    assert acme.steering.patch("/control/egnyte/acme/settings", json={"qsp": 1}).status_code == 422
    assert acme.steering.patch("/control/egnyte/acme/settings", json={"qps": 0}).status_code == 422


def test_an_unknown_domain_is_not_there(acme: Acme) -> None:
    assert acme.http.get(acme.url.replace("/acme", "/nobody") + "/pubapi/v1/userinfo").status_code == 404
    assert acme.steering.get("/control/egnyte/nobody").status_code == 404


def test_the_request_log_shows_no_secrets(acme: Acme) -> None:
    latest = acme.steering.get("/control/requests").json()["latest"]
    token = acme.token()["access_token"]
    acme.http.get("/pubapi/v1/events?id=1", headers={"Authorization": f"Bearer {token}"})
    acme.fault("cut")
    with pytest.raises(httpx.TransportError):
        ask(acme)
    log = acme.steering.get("/control/requests", params={"since": latest})
    served, cut = log.json()["requests"]
    assert (served["method"], served["path"]) == ("GET", "/egnyte/acme/pubapi/v1/events")
    assert (served["query"], served["status"]) == ("id=1", 204)
    assert cut["status"] is None
    assert token not in log.text


def test_reset_brings_everything_back(acme: Acme) -> None:
    acme.change("upload", "/Shared/a.txt")
    acme.fault("500", times=None)
    acme.configure(qps=1)
    acme.steering.post("/control/reset").raise_for_status()
    state = acme.steering.get("/control/egnyte/acme").json()
    assert state["events"] == state["tokens"] == 0
    assert acme.steering.get("/control/egnyte/acme/settings").json()["qps"] is None
    assert ask(acme).status_code == 401


def test_the_index_lists_what_is_here(acme: Acme) -> None:
    page = acme.steering.get("/").text
    assert "/egnyte/acme/" in page
    assert acme.steering.get("/control/egnyte/domains").json() == ["acme", "globex"]
