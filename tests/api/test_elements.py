"""/elements: the catalogue and the start of OAuth, without authorization."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from acme import REDIRECT_URI
from gateway import Gateway

from app import registry
from app.main import create_app
from app.settings import load

OAUTH = {"apiKey": "sandbox-client", "apiSecret": "sandbox-secret", "callbackUrl": REDIRECT_URI}


async def test_the_elements_are_listed_without_their_configuration(gateway: Gateway) -> None:
    elements = (await gateway.http.get("/elements")).json()
    assert {(element["id"], element["key"]) for element in elements} == {(22, "box"), (4016, "egnyte")}
    assert {element["hub"] for element in elements} == {"documents"}
    assert not any("configuration" in element for element in elements)


@pytest.mark.parametrize("name", ["egnyte", "4016", "Egnyte"])
async def test_an_element_is_found_by_key_or_id(gateway: Gateway, name: str) -> None:
    element = (await gateway.http.get(f"/elements/{name}")).json()
    items = {item["key"]: item for item in element["configuration"]}
    assert items["subdomain"]["required"]
    assert not items["subdomain"]["hideFromConsole"]
    assert items["oauth.api.secret"]["type"] == "PASSWORD"
    assert items["event.notification.enabled"]["defaultValue"] == "false"
    assert {"id", "name", "description", "active", "internal", "displayOrder"} <= items["subdomain"].keys()
    assert len({item["id"] for item in items.values()}) == len(items)


async def test_an_element_says_what_its_vendor_can_do(gateway: Gateway) -> None:
    operations = {
        key: set((await gateway.http.get(f"/elements/{key}")).json()["operations"])
        for key in ("box", "egnyte")
    }
    assert operations["box"] - operations["egnyte"] == {
        "comment edit", "custom field removal", "description", "emptyTrash", "metadata properties", "tags"
    }  # fmt: skip


async def test_the_consent_page_of_box_is_on_a_host_of_its_own(gateway: Gateway) -> None:
    url = (await gateway.http.get("/elements/box/oauth/url", params=OAUTH)).json()["oauthUrl"]
    assert url.startswith(f"{gateway.sandbox_url}/box/api/oauth2/authorize?")
    assert "scope" not in parse_qs(urlsplit(url).query)
    public = registry.discover({})
    box = public.find("box")
    assert public.base_url(box, {}, "account") == "https://account.box.com"
    moved = registry.discover({"box": "https://box.example", "box.account": "https://ent.box.com"})
    assert moved.base_url(box, {}, "account") == "https://ent.box.com"
    assert moved.base_url(box, {}, "upload") == moved.base_url(box, {}) == "https://box.example"


async def test_an_unknown_element_is_not_found(gateway: Gateway) -> None:
    for path in ("/elements/nobox", "/elements/0", "/elements/nobox/oauth/url?apiKey=a&callbackUrl=b"):
        answer = await gateway.http.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("No element")


async def test_the_consent_url_leads_to_the_account(gateway: Gateway) -> None:
    answer = await gateway.http.get("/elements/egnyte/oauth/url", params=OAUTH | {"subdomain": "acme"})
    assert answer.json()["element"] == "egnyte"
    url = answer.json()["oauthUrl"]
    assert url.startswith(f"{gateway.sandbox_url}/egnyte/acme/puboauth/token?")
    query = {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}
    assert query == {
        "response_type": "code",
        "client_id": "sandbox-client",
        "redirect_uri": REDIRECT_URI,
        "scope": "Egnyte.filesystem Egnyte.link",
        "state": "egnyte",
    }
    async with httpx.AsyncClient() as browser:
        assert "Allow" in (await browser.get(url)).text


async def test_scope_and_state_can_be_given_and_other_parameters_do_not_hurt(gateway: Gateway) -> None:
    more = {"siteAddress": "acme", "scope": "Egnyte.user", "state": "a b&c", "elementKeyOrId": "egnyte"}
    url = (await gateway.http.get("/elements/4016/oauth/url", params=OAUTH | more)).json()["oauthUrl"]
    query = parse_qs(urlsplit(url).query)
    assert (query["scope"], query["state"]) == (["Egnyte.user"], ["a b&c"])
    assert "/egnyte/acme/" in url


async def test_without_a_subdomain_its_place_is_empty() -> None:
    settings = load(_env_file=None)
    app = create_app(settings, with_workers=False)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for parameters in (OAUTH, OAUTH | {"subdomain": "evil.example.com/"}):
                answer = await http.get("/elements/egnyte/oauth/url", params=parameters)
                assert answer.json()["oauthUrl"].startswith("https://.egnyte.com/puboauth/token?")


@pytest.mark.parametrize("missing", ["apiKey", "callbackUrl"])
async def test_a_missing_parameter_is_named(gateway: Gateway, missing: str) -> None:
    parameters = {key: value for key, value in OAUTH.items() if key != missing}
    answer = await gateway.http.get("/elements/egnyte/oauth/url", params=parameters)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(missing)
