"""Taking over instances: whole, once, with all that the export has, and a word about all that it has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gateway as gateways
import pytest
from acme import REDIRECT_URI, Acme
from exports import LEGACY, TOKEN, exported, take_over
from gateway import Gateway
from sqlalchemy import select

from app.errors import BadRequest, NotFound
from app.provisioning import importer
from app.provisioning.importer import Outcome
from app.store.tables import Poller, table
from app.tenancy import tenants

STARS = "********"


async def listed(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.http.get("/instances", headers=gateway.platform)).json()
    return found


async def test_an_instance_keeps_its_id_its_token_and_its_tokens_at_the_vendor(
    gateway: Gateway, acme: Acme
) -> None:
    (line,) = await take_over(gateway, exported(acme))
    assert (line.outcome, line.instance_id, line.needs_consent) == (Outcome.CREATED, 427236, False)
    (made,) = await listed(gateway)
    assert (made["id"], made["token"], made["name"]) == (427236, TOKEN, "FromAPI-tags")
    assert (made["createdDate"], made["tags"]) == ("2017-06-06T21:29:33Z", ["Docs"])
    assert (made["valid"], made["disabled"], made["eventsEnabled"]) == (True, False, True)
    shown = made["configuration"]
    assert (shown["event.poller.urls"], shown["event.poller.refresh_interval"]) == (LEGACY, "30")
    assert json.loads(shown["event.poller.configuration"])["events"]["datesConfiguration"] == {
        "updatedDateField": "event_date",
        "updatedDateFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "updatedDateTimezone": "GMT",
        "createdDateField": "event_date",
        "createdDateFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "createdDateTimezone": "GMT",
    }
    answer = await gateway.http.get("/hubs/documents/ping", headers=gateway.hub(TOKEN))
    assert answer.status_code == 200
    async with gateway.runtime.database.read() as connection:
        (poller,) = await connection.execute(select(table(Poller)))
    assert (poller.resource, poller.interval_seconds, poller.cursor) == ("events", 1800, "now")
    assert poller.due_at is not None


async def test_the_second_time_nothing_changes(gateway: Gateway, acme: Acme) -> None:
    items = [exported(acme), exported(acme, id=5, token=None), exported(acme, id=6, token=STARS)]
    await take_over(gateway, *items)
    patched = await gateway.http.patch(
        "/instances/427236", json={"name": "Renamed here"}, headers=gateway.platform
    )
    before = await listed(gateway)
    lines = await take_over(gateway, *items)
    assert [line.outcome for line in lines] == [Outcome.UNCHANGED] * 3
    assert await listed(gateway) == before
    assert patched.json()["name"] == "Renamed here" in {item["name"] for item in before}


async def test_ids_that_are_given_later_are_above_those_that_were_taken_over(
    gateway: Gateway, acme: Acme
) -> None:
    await take_over(gateway, exported(acme))
    assert (await gateway.connect())["id"] > 427236


async def test_an_id_that_is_taken_is_replaced_and_that_is_said(gateway: Gateway, acme: Acme) -> None:
    there = await gateway.connect()
    (line,) = await take_over(gateway, exported(acme, id=there["id"]))
    assert line.outcome is Outcome.CREATED
    assert line.instance_id != there["id"]
    assert "has a new one" in line.notes[0]
    (again,) = await take_over(gateway, exported(acme, id=there["id"]))
    assert (again.outcome, again.instance_id) == (Outcome.UNCHANGED, line.instance_id)


@pytest.mark.parametrize("changes", [{"id": None}, {"createdDate": None}])
async def test_what_could_not_be_known_again_is_not_taken_over(
    gateway: Gateway, acme: Acme, changes: dict[str, Any]
) -> None:
    (line,) = await take_over(gateway, exported(acme, token=STARS, **changes))
    assert (line.outcome, "known again" in line.notes[0]) == (Outcome.FAILED, True)


async def test_without_a_token_an_id_is_proof_only_together_with_the_age(
    gateway: Gateway, acme: Acme
) -> None:
    there = await gateway.connect()
    for _ in range(2):
        (line,) = await take_over(gateway, exported(acme, id=there["id"], token=None))
        assert (line.outcome, "another instance" in line.notes[0]) == (Outcome.FAILED, True)
    assert len(await listed(gateway)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"tags": 5},
        {"token": {}},
        {"configuration": [5]},
        {"name": "a\0b"},
        {"id": 2**62},
        {"name": ["x"]},
        {"configuration": "x"},
    ],
)
async def test_an_item_of_another_form_holds_nothing_else_up(
    gateway: Gateway, acme: Acme, changes: dict[str, Any]
) -> None:
    item = exported(acme) | changes
    lines = await take_over(gateway, item, exported(acme, id=7, token="t" * 44))
    assert [line.outcome for line in lines] == [Outcome.FAILED, Outcome.CREATED]


async def test_masked_secrets_are_left_out_and_the_owner_is_asked_for_his_consent(
    gateway: Gateway, acme: Acme
) -> None:
    masked = {"oauth.user.token": STARS, "oauth.api.secret": STARS}
    (line,) = await take_over(gateway, exported(acme, configuration=masked))
    assert (line.outcome, line.needs_consent) == (Outcome.CREATED, True)
    assert line.consent_url is not None
    assert line.consent_url.startswith(f"{gateway.sandbox_url}/egnyte/acme/puboauth/token?")
    assert "state=427236" in line.consent_url
    (made,) = await listed(gateway)
    assert (made["valid"], made["configuration"]["oauth.api.secret"]) == (False, None)
    assert "nextPollDate" not in made["pollers"][0]
    assert (await gateway.http.get("/ping", headers=gateway.hub(TOKEN))).status_code == 401
    order = await gateway.order()
    body = {
        "providerData": order["providerData"],
        "configuration": {"oauth.api.secret": "sandbox-secret"},
    }
    answer = await gateway.http.patch("/instances/427236", json=body, headers=gateway.platform)
    assert (answer.status_code, answer.json()["valid"]) == (200, True)
    assert "nextPollDate" in answer.json()["pollers"][0]
    assert (await gateway.http.get("/ping", headers=gateway.hub(TOKEN))).status_code == 200
    (line,) = await take_over(gateway, exported(acme, configuration=masked))
    assert (line.outcome, line.needs_consent) == (Outcome.UNCHANGED, False)


async def test_an_instance_without_a_grant_can_be_renamed_and_disabled(gateway: Gateway, acme: Acme) -> None:
    masked = {"oauth.user.token": STARS, "oauth.api.secret": STARS, "oauth.api.key": STARS}
    (line,) = await take_over(gateway, exported(acme, configuration=masked))
    assert (line.needs_consent, line.consent_url) == (True, None)
    answer = await gateway.http.patch("/instances/427236", json={"name": "X"}, headers=gateway.platform)
    assert (answer.status_code, answer.json()["name"]) == (200, "X")
    for method in ("DELETE", "PUT"):
        answer = await gateway.http.request(method, "/instances/427236/enabled", headers=gateway.platform)
        assert answer.status_code == 200
    assert "nextPollDate" not in (await listed(gateway))[0]["pollers"][0]


async def test_the_operators_app_makes_the_consent_possible(
    tmp_path: Path, acme: Acme, sandbox_url: str
) -> None:
    app = {"key": "sandbox-client", "secret": "sandbox-secret", "callback_url": REDIRECT_URI}
    settings = gateways.settings_for(tmp_path, sandbox_url, oauth_apps={"egnyte": app})
    masked = {"oauth.user.token": STARS, "oauth.api.secret": STARS, "oauth.api.key": STARS}
    async with gateways.running(settings, sandbox_url) as gateway:
        (line,) = await take_over(gateway, exported(acme, configuration=masked))
    assert line.consent_url is not None
    assert "client_id=sandbox-client" in line.consent_url


async def test_what_cannot_be_taken_over_is_said_and_holds_nothing_else_up(
    gateway: Gateway, acme: Acme
) -> None:
    lines = await take_over(
        gateway,
        exported(acme, element={"key": "sfdc", "id": 23}),
        exported(acme, id="x"),
        exported(acme, configuration={"event.notification.callback.url": "ftp://x"}),
        "not an instance",
        exported(acme),
    )
    assert [line.outcome for line in lines] == [Outcome.FAILED] * 4 + [Outcome.CREATED]
    assert [len(line.notes) for line in lines] == [1, 1, 1, 1, 0]
    assert "sfdc" in lines[0].notes[0]
    assert "event.notification.callback.url" in lines[2].notes[0]
    assert len(await listed(gateway)) == 1


async def test_a_poller_that_is_not_known_here_is_kept_and_the_events_are_polled(
    gateway: Gateway, acme: Acme
) -> None:
    odd = {"event.poller.urls": "documents|/hubs/documents/other?where=x='${date}'|\nchanges"}
    (line,) = await take_over(gateway, exported(acme, configuration=odd))
    assert "polled instead" in line.notes[0]
    (made,) = await listed(gateway)
    kept = json.loads(made["configuration"]["imported.event.poller.configuration"])
    assert [(name, poller["url"]) for name, poller in kept.items()] == [
        ("documents", "/hubs/documents/other?where=x='${date}'"),
        ("changes", "/hubs/documents/changes"),
    ]
    assert [poller["resource"] for poller in made["pollers"]] == ["events"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("event.notification.callback.headers", "abc"),
        ("event.notification.basic.username", "a:b"),
        ("event.notification.basic.password", "a\nb"),
    ],
)
async def test_what_calls_cannot_carry_is_kept_beside_and_said(
    gateway: Gateway, acme: Acme, key: str, value: str
) -> None:
    wrong = {"event.poller.urls": "", "event.poller.configuration": "[]", key: value}
    (line,) = await take_over(gateway, exported(acme, configuration=wrong))
    assert line.outcome is Outcome.CREATED
    assert any(note.startswith(f"configuration.{key}: ") for note in line.notes)
    assert len(line.notes) == 2  # the pollers were of no known form either
    assert value not in str(line.notes)
    (made,) = await listed(gateway)
    assert f"imported.{key}" in made["configuration"]
    assert made["configuration"][key] is None


async def test_other_forms_of_an_export_are_understood(gateway: Gateway, acme: Acme) -> None:
    item = exported(acme, tags=[{"id": 1, "name": "old"}], element={"id": 4016}, disabled=True)
    values = item["configuration"]
    item["configuration"] = [{"key": key, "propertyValue": value} for key, value in values.items()]
    item |= {"valid": None, "externalAuthentication": "weird", "createdDate": None}
    (line,) = await take_over(gateway, item)
    assert line.outcome is Outcome.CREATED, line.notes
    (made,) = await listed(gateway)
    assert (made["tags"], made["disabled"], made["element"]["key"]) == (["old"], True, "egnyte")
    assert "nextPollDate" not in made["pollers"][0]
    assert (await gateway.http.get("/ping", headers=gateway.hub(TOKEN))).status_code == 403


async def test_what_was_deleted_here_does_not_come_back(gateway: Gateway, acme: Acme) -> None:
    await take_over(gateway, exported(acme))
    await gateway.http.delete("/instances/427236", headers=gateway.platform)
    (line,) = await take_over(gateway, exported(acme))
    assert (line.outcome, "deleted" in line.notes[0]) == (Outcome.FAILED, True)


async def test_the_account_has_to_be_named_where_there_are_several(gateway: Gateway) -> None:
    runtime = gateway.runtime
    await tenants.create_organization(
        runtime.database, "Other", email="other@example.com", now=runtime.clock.now()
    )
    with pytest.raises(BadRequest, match=r"1, 2"):
        await importer.owner_of(runtime, None)
    assert (await importer.owner_of(runtime, 2)).email == "other@example.com"
    with pytest.raises(NotFound):
        await importer.owner_of(runtime, 3)


@pytest.mark.parametrize("text", [b"", b"{", b'"x"', b"3"])
def test_a_file_that_is_no_export_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        importer.read(text)


def test_the_command_takes_a_file_or_a_pipe(tmp_path: Path, acme: Acme, sandbox_url: str) -> None:
    base_urls = {"egnyte": sandbox_url + "/egnyte/{subdomain}"}
    environment = os.environ | {"GATEWAY_PROVIDER_BASE_URLS": json.dumps(base_urls)}

    def run(*words: str, given: str = "") -> tuple[int, str]:
        command = [sys.executable, "-m", "app", *words]
        done = subprocess.run(
            command,
            check=False,
            env=environment,
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout

    assert run("organization", "create", "Test")[0] == 0
    item = exported(acme, configuration={"oauth.user.token": STARS})
    (tmp_path / "export.json").write_text(json.dumps(item))
    code, said = run("import", "export.json")
    assert code == 0
    assert "created: 427236 egnyte 'FromAPI-tags' as 427236" in said
    assert "authenticates it again at http" in said
    assert "1 created, 0 unchanged, 0 failed; 1 to be authenticated again" in said
    code, said = run("import", "-", given=json.dumps([item, {"element": {"key": "x"}}]))
    assert code == 1
    assert "0 created, 1 unchanged, 1 failed; 1 to be authenticated again" in said
    assert run("import", "missing.json")[0] == run("import", "-", given="{")[0] == 2


async def test_whose_vendor_called_is_polled_where_the_vendor_cannot_reach_the_gateway(
    gateway: Gateway, acme: Acme
) -> None:
    called = {"event.vendor.type": "webhook"}
    (line,) = await take_over(gateway, exported(acme, configuration=called))
    assert line.outcome is Outcome.CREATED
    assert any("GATEWAY_PUBLIC_URL" in note and "polled instead" in note for note in line.notes)
    (made,) = await listed(gateway)
    assert made["configuration"]["imported.event.vendor.type"] == "webhook"
    assert made["configuration"]["event.vendor.type"] == "polling"
    assert "vendorWebhook" not in made
