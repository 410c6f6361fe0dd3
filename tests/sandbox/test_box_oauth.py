"""Consent and tokens of the fake Box."""

import time

import httpx
import pytest
from acme import REDIRECT_URI
from box_account import APP, Box, Json

WISH = {
    "client_id": "sandbox-client",
    "redirect_uri": REDIRECT_URI,
    "response_type": "code",
    "scope": "root_readwrite",
    "state": "a b&c",
}


def consent(box: Box, decision: str = "allow") -> httpx.URL:
    form = {**WISH, "user": "bob", "decision": decision}
    answer = box.http.post("/api/oauth2/consent", data=form)
    assert answer.status_code == 302
    return httpx.URL(answer.headers["location"])


def ask(box: Box, grant_type: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{box.url}/oauth2/token", data={**APP, "grant_type": grant_type, **fields})


def renew(box: Box, token: Json) -> httpx.Response:
    return ask(box, "refresh_token", refresh_token=token["refresh_token"])


def login(box: Box, access_token: str) -> str | None:
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = httpx.get(f"{box.url}/2.0/users/me", headers=headers)
    return str(answer.json()["login"]) if answer.is_success else None


def failed(answer: httpx.Response, error: str) -> str:
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    return str(answer.json()["error_description"])


def test_the_consent_page_keeps_what_the_app_asked_for(box: Box) -> None:
    page = box.http.get("/api/oauth2/authorize", params={**WISH, "state": '"><script>'})
    assert page.status_code == 200
    assert "Bob Ray" in page.text
    assert 'action="consent"' in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("changes", [{"client_id": "nobody"}, {"redirect_uri": ""}])
def test_a_browser_is_never_sent_to_an_address_that_cannot_be_trusted(
    box: Box, changes: dict[str, str]
) -> None:
    assert box.http.get("/api/oauth2/authorize", params=WISH | changes).status_code == 400
    assert box.http.post("/api/oauth2/consent", data=WISH | changes).status_code == 400


def test_a_code_becomes_a_token_once(box: Box) -> None:
    back = consent(box)
    assert back.params["state"] == "a b&c"
    token = ask(box, "authorization_code", code=back.params["code"]).json()
    assert set(token) == {"access_token", "refresh_token", "expires_in", "token_type", "restricted_to"}
    assert (token["expires_in"], token["token_type"], token["restricted_to"]) == (3600, "bearer", [])
    assert login(box, token["access_token"]) == "bob@example.com"
    failed(ask(box, "authorization_code", code=back.params["code"]), "invalid_grant")


def test_a_code_is_short_lived(box: Box) -> None:
    assert box.steering.get("/control/box/settings").json()["code_seconds"] == 30
    box.configure(code_seconds=0.01)
    code = consent(box).params["code"]
    time.sleep(0.02)
    failed(ask(box, "authorization_code", code=code), "invalid_grant")


def test_somebody_who_refuses_goes_back_too(box: Box) -> None:
    back = consent(box, "deny")
    assert (back.params["error"], back.params["state"]) == ("access_denied", "a b&c")


def test_a_refresh_token_works_once(box: Box) -> None:
    first = box.token()
    second = renew(box, first).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert failed(renew(box, first), "invalid_grant") == "Invalid refresh token"
    assert login(box, first["access_token"]) == login(box, second["access_token"]) == "ann@example.com"
    assert renew(box, second).status_code == 200


def test_a_setting_lets_a_refresh_token_work_again(box: Box) -> None:
    box.configure(refresh_tokens="reuse")
    first = box.token()
    second = renew(box, first).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert renew(box, first).status_code == renew(box, second).status_code == 200


def test_tokens_end(box: Box) -> None:
    token = box.token()
    assert box.control("tokens/expire", kind="all", username="ann@example.com")["expired"] > 0
    assert login(box, token["access_token"]) is None
    assert failed(renew(box, token), "invalid_grant") == "Refresh token has expired"


def test_a_call_without_a_valid_token_is_refused_without_a_body(box: Box) -> None:
    answer = httpx.get(f"{box.url}/2.0/users/me", headers={"Authorization": "Bearer stale"})
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="Service", error="invalid_token"')


@pytest.mark.parametrize("half", ["access_token", "refresh_token"])
def test_a_revoked_token_takes_the_other_with_it(box: Box, half: str) -> None:
    token = box.token()
    answer = box.http.post("/oauth2/revoke", data={**APP, "token": token[half]})
    assert (answer.status_code, answer.json()) == (200, {})
    assert login(box, token["access_token"]) is None
    failed(renew(box, token), "invalid_grant")
    failed(box.http.post("/oauth2/revoke", data={**APP, "token": token[half]}), "invalid_token")
    other = box.token("bob")
    assert box.control("tokens/revoke", token=other[half]) == {"revoked": True}
    assert login(box, other["access_token"]) is None


def test_an_app_gets_a_token_by_itself(box: Box) -> None:
    service = ask(box, "client_credentials", box_subject_type="enterprise", box_subject_id="27335").json()
    assert "refresh_token" not in service
    assert login(box, service["access_token"]) == "ann@example.com"
    person = ask(box, "client_credentials", box_subject_type="user", box_subject_id="11446499").json()
    assert login(box, person["access_token"]) == "bob@example.com"
    unknown = ask(box, "client_credentials", box_subject_type="user", box_subject_id="1")
    failed(unknown, "invalid_grant")


def test_what_the_token_endpoint_does_not_understand_is_refused(box: Box) -> None:
    failed(ask(box, "password"), "unsupported_grant_type")
    failed(ask(box, "refresh_token", client_secret="wrong", refresh_token="x"), "invalid_client")
    failed(ask(box, "refresh_token", refresh_token="x"), "invalid_grant")
    failed(httpx.post(f"{box.url}/oauth2/token", content=b"\xff"), "invalid_request")


def test_another_app_can_be_registered(box: Box) -> None:
    uri = "https://app.example.com/back"
    box.control("apps", client_id="other", client_secret="s", redirect_uris=[uri])
    code = box.code(client_id="other", redirect_uri=uri)
    failed(ask(box, "authorization_code", code=code), "invalid_grant")
    code = box.code(client_id="other", redirect_uri=uri)
    other = {"client_id": "other", "client_secret": "s"}
    assert ask(box, "authorization_code", code=code, **other).status_code == 200
