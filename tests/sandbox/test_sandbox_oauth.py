"""Consent and tokens of the fake Egnyte."""

import json
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from acme import Acme

from app.sandbox import grants

WISH = {
    "client_id": "sandbox-client",
    "redirect_uri": "http://127.0.0.1:9200/oauth/callback",
    "response_type": "code",
    "scope": "Egnyte.filesystem Egnyte.link",
    "state": "a b&c",
}
SECRET = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}


def consent(acme: Acme, decision: str = "allow", **changes: str) -> httpx.URL:
    form = {**WISH, **changes, "username": "adoe", "decision": decision}
    answer = acme.http.post("/puboauth/consent", data=form)
    assert answer.status_code == 302
    return httpx.URL(answer.headers["location"])


def ask(acme: Acme, grant_type: str, **fields: str) -> httpx.Response:
    return acme.http.post("/puboauth/token", data={**SECRET, "grant_type": grant_type, **fields})


def exchange(acme: Acme, code: str, **changes: str) -> httpx.Response:
    return ask(acme, "authorization_code", **{"code": code, "redirect_uri": WISH["redirect_uri"], **changes})


def renew(acme: Acme, token: dict[str, Any]) -> httpx.Response:
    return ask(acme, "refresh_token", refresh_token=token["refresh_token"])


def works(acme: Acme, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return acme.http.get("/pubapi/v1/userinfo", headers=headers).status_code == 200


def test_the_consent_page_keeps_what_the_app_asked_for(acme: Acme) -> None:
    page = acme.http.get("/puboauth/token", params={**WISH, "state": '"><script>'})
    assert page.status_code == 200
    assert "Egnyte.filesystem Egnyte.link" in page.text
    assert "Alex Doe" in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("changes", [{"client_id": "nobody"}, {"redirect_uri": ""}])
def test_a_browser_is_never_sent_to_an_address_that_cannot_be_trusted(
    acme: Acme, changes: dict[str, str]
) -> None:
    assert acme.http.get("/puboauth/token", params=WISH | changes).status_code == 400
    assert acme.http.post("/puboauth/consent", data=WISH | changes).status_code == 400


def test_an_app_may_be_bound_to_its_redirect_uris(acme: Acme) -> None:
    app = {
        "client_id": "bound",
        "client_secret": "s",
        "redirect_uris": ["http://127.0.0.1*", "https://a.b/c"],
    }
    acme.steering.post("/control/egnyte/apps", json=app).raise_for_status()
    statuses = [
        acme.http.get(
            "/puboauth/token", params=WISH | {"client_id": "bound", "redirect_uri": uri}
        ).status_code
        for uri in ("http://127.0.0.1:1/x", "https://a.b/c", "https://a.b/cd")
    ]
    assert statuses == [200, 200, 400]


def test_only_the_code_flow_is_offered(acme: Acme) -> None:
    answer = acme.http.get("/puboauth/token", params=WISH | {"response_type": "token"})
    assert httpx.URL(answer.headers["location"]).params["error"] == "unsupported_response_type"


def test_consent_sends_the_browser_back_with_a_code_and_the_state(acme: Acme) -> None:
    back = consent(acme, redirect_uri="https://mycoolapp.com/cb?keep=1")
    assert back.host == "mycoolapp.com"
    assert back.params["keep"] == "1"
    assert back.params["state"] == WISH["state"]
    assert back.params["code"]


def test_denial_sends_the_browser_back_with_an_error(acme: Acme) -> None:
    back = consent(acme, "deny")
    assert dict(back.params) == {"error": "access_denied", "state": WISH["state"]}


def test_a_code_becomes_a_token_of_the_user_who_consented(acme: Acme) -> None:
    token = exchange(acme, consent(acme).params["code"]).json()
    assert token["token_type"] == "bearer"
    assert token["expires_in"] == 2_592_000
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    who = acme.http.get("/pubapi/v1/whoami", headers=headers).json()
    assert who["username"] == "adoe"
    assert who["domain"] == "acme"
    assert who["scopes"] == ["Egnyte.filesystem", "Egnyte.link"]


def test_a_code_works_once(acme: Acme) -> None:
    code = consent(acme).params["code"]
    assert exchange(acme, code).status_code == 200
    again = exchange(acme, code)
    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"


def test_a_code_belongs_to_its_redirect_uri(acme: Acme) -> None:
    refused = exchange(acme, consent(acme).params["code"], redirect_uri="http://127.0.0.1:9200/other")
    assert refused.json()["error"] == "invalid_grant"


def test_a_code_ends_soon(acme: Acme) -> None:
    acme.configure(code_seconds=0.01)
    code = consent(acme).params["code"]
    time.sleep(0.02)
    assert exchange(acme, code).json()["error"] == "invalid_grant"


def test_a_code_is_worth_nothing_without_the_secret(acme: Acme) -> None:
    refused = exchange(acme, consent(acme).params["code"], client_secret="guess")
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_client"


def test_an_unknown_grant_type_is_named(acme: Acme) -> None:
    assert ask(acme, "magic").json()["error"] == "unsupported_grant_type"


def test_a_broken_body_is_refused(acme: Acme) -> None:
    refused = acme.http.post("/puboauth/token", content=b"{")
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_request"


def test_a_legacy_domain_gives_tokens_without_an_end(acme: Acme) -> None:
    acme.configure(token_mode="legacy", access_token_seconds=0.01)
    token = exchange(acme, consent(acme).params["code"]).json()
    assert token["expires_in"] == -1
    assert "refresh_token" not in token
    time.sleep(0.02)
    assert works(acme, token["access_token"])


def test_an_access_token_ends_when_its_time_is_over(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.time()
    monkeypatch.setattr(grants, "time", SimpleNamespace(time=lambda: moment))
    acme.configure(access_token_seconds=0.5)
    token = acme.token()["access_token"]
    moment += 0.4
    assert works(acme, token)
    moment += 0.2
    assert not works(acme, token)


@pytest.mark.parametrize(("rotation", "same"), [("same", True), ("rotate", False)])
def test_a_refresh_answers_the_same_or_a_new_refresh_token(acme: Acme, rotation: str, same: bool) -> None:
    acme.configure(refresh_rotation=rotation)
    old = acme.token()
    new = renew(acme, old).json()
    assert works(acme, new["access_token"])
    assert new["access_token"] != old["access_token"]
    assert (new["refresh_token"] == old["refresh_token"]) is same
    assert renew(acme, old).status_code == (200 if same else 400)


def test_a_refresh_may_answer_no_refresh_token_and_keep_the_old_one(acme: Acme) -> None:
    acme.configure(refresh_rotation="omit")
    old = acme.token()
    assert "refresh_token" not in renew(acme, old).json()
    assert renew(acme, old).status_code == 200


def test_control_ends_tokens_before_their_time(acme: Acme) -> None:
    token = acme.token()
    acme.control("tokens/expire", kind="access")
    assert not works(acme, token["access_token"])
    assert renew(acme, token).status_code == 200
    acme.control("tokens/expire", kind="all")
    assert renew(acme, token).json()["error"] == "invalid_grant"


def test_control_can_end_the_tokens_of_one_user(acme: Acme) -> None:
    jane, alex = acme.token("jsmith"), acme.token("adoe")
    acme.control("tokens/expire", username="adoe")
    assert works(acme, jane["access_token"])
    assert not works(acme, alex["access_token"])


def test_a_password_is_taken_as_json_that_calls_itself_a_form(acme: Acme) -> None:
    body = {
        "client_id": "sandbox-client",
        "username": "jsmith",
        "password": "sandbox",
        "grant_type": "password",
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    token = acme.http.post("/puboauth/token", content=json.dumps(body), headers=headers)
    assert works(acme, token.json()["access_token"])
    wrong = acme.http.post("/puboauth/token", data=body | {"password": "guess"})
    assert wrong.json()["error"] == "invalid_grant"


def test_revoking_an_access_token_kills_its_refresh_token(acme: Acme) -> None:
    token = acme.token()
    form = {"token": token["access_token"], "client_secret": "sandbox-secret"}
    assert acme.http.post("/pubapi/v1/tokens/revoke", data=form).status_code == 200
    assert not works(acme, token["access_token"])
    assert renew(acme, token).status_code == 400
    assert acme.http.post("/pubapi/v1/tokens/revoke", data=form).status_code == 400


def test_revoking_needs_the_secret(acme: Acme) -> None:
    token = acme.token()["access_token"]
    refused = acme.http.post("/pubapi/v1/tokens/revoke", data={"token": token, "client_secret": "guess"})
    assert refused.json()["error"] == "invalid_client"
    assert works(acme, token)


def test_a_token_is_good_for_one_domain(acme: Acme) -> None:
    token = acme.token()["access_token"]
    elsewhere = acme.url.replace("/acme", "/globex")
    answer = acme.http.get(f"{elsewhere}/pubapi/v1/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_the_token_endpoint_can_be_throttled(acme: Acme) -> None:
    acme.fault("409", path="/puboauth/token", retry_after=30)
    assert works(acme, acme.token()["access_token"])
    throttled = renew(acme, acme.token())
    assert throttled.status_code == 409
    assert throttled.headers["retry-after"] == "30"
    assert renew(acme, acme.token()).status_code == 200
