"""What a refusal says: what is wrong, and nothing of how it was found."""

from __future__ import annotations

from typing import Any

import pytest
from gateway import Gateway

ROOT = "/elements/api-v2"
SUBSCRIPTION = {"topics": ["a"], "config": {"url": "http://a.example.com"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("PATCH", "/users/1", {"password": "short"}, "password: must have at least 8 characters"),
        (
            "POST",
            "/notifications/subscriptions",
            SUBSCRIPTION | {"topics": ["a", "b"]},
            "topics: must have at most 1 item",
        ),
        (
            "POST",
            "/notifications/subscriptions",
            SUBSCRIPTION | {"topics": []},
            "topics: must have at least 1 item",
        ),
        (
            "POST",
            "/notifications/subscriptions",
            SUBSCRIPTION | {"channel": "email"},
            "channel: must be 'webhook'",
        ),
        (
            "POST",
            "/notifications/subscriptions",
            SUBSCRIPTION | {"active": False},
            "active: cannot be false: what is made here sends from now on",
        ),
        ("GET", "/instances/events?from=0001-01-01T00:00:00Z", None, "from: is no time from 1970 to 9000"),
    ],
)
async def test_a_refusal_says_what_is_wrong(
    gateway: Gateway, method: str, path: str, body: Any, message: str
) -> None:
    answer = await gateway.http.request(method, path, json=body, headers=gateway.platform)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/instances", {"page", "pageSize", "nextPage", "returnTotalCount"}),
        ("/instances/events", {"page", "pageSize", "nextPage"}),
        ("/instances/events/dispositions", {"page", "pageSize", "nextPage"}),
        ("/notifications", {"pageSize", "nextPage"}),
        ("/notifications/subscriptions/deliveries", {"pageSize", "nextPage"}),
        ("/audit", {"pageSize", "nextPage"}),
    ],
)
async def test_the_document_names_the_paging_that_a_list_has(
    gateway: Gateway, path: str, known: set[str]
) -> None:
    document = (await gateway.http.get("http://gateway/openapi.json")).json()
    operation = next(document["paths"][key] for key in (path, ROOT + path) if key in document["paths"])["get"]
    named = {item["name"] for item in operation["parameters"]}
    assert named & {"page", "pageSize", "nextPage", "returnTotalCount"} == known
