"""/elements: the catalogue and the start of OAuth, without authorization."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from acme import REDIRECT_URI
from gateway import Gateway

from app import registry
from app.main import BASE_PATH, create_app
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
        *("comment edit", "custom field removal", "description", "emptyTrash", "long poll"),
        *("metadata properties", "tags"),
    }


async def test_an_element_has_every_field_that_clients_read(gateway: Gateway) -> None:
    element = (await gateway.http.get("/elements/egnyte")).json()
    texts = {
        *("name", "hookName", "key", "description", "image", "trialAccountDescription"),
        *("existingAccountDescription", "configDescription", "signupURL", "elementProvisionType"),
        *("authenticationType", "hub", "protocolType", "createdDate", "updatedDate"),
    }
    flags = {
        *("active", "deleted", "typeOauth", "trialAccount", "transformationsEnabled", "bulkDownloadEnabled"),
        *("bulkUploadEnabled", "cloneable", "extendable", "extended", "beta", "private"),
    }
    lists = {"resources", "parameters", "hooks", "configuration", "operations"}
    assert element.keys() == texts | flags | lists | {"id", "authentication"}
    assert all(isinstance(element[name], str) for name in texts)
    assert all(isinstance(element[name], bool) for name in flags)
    assert all(isinstance(element[name], list) for name in lists)
    assert element["authentication"] == {"type": "oauth2"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", element["createdDate"])


async def test_an_abridged_element_has_no_lists(gateway: Gateway) -> None:
    whole = (await gateway.http.get("/elements")).json()
    abridged = (await gateway.http.get("/elements", params={"abridged": "true"})).json()
    assert whole[0].keys() - abridged[0].keys() == {"resources", "parameters", "hooks"}
    assert [element["id"] for element in abridged] == [element["id"] for element in whole]


async def test_the_catalogue_comes_in_pages(gateway: Gateway) -> None:
    for path, key in (("", "key"), ("/metadata", "key"), ("/keys", None)):
        pages = [
            await gateway.http.get(f"/elements{path}", params={"pageSize": 1, "page": page})
            for page in (1, 2, 3)
        ]
        found = [[item[key] if key else item for item in page.json()] for page in pages]
        assert found == [["box"], ["egnyte"], []]
        assert ["Elements-Next-Page-Token" in page.headers for page in pages] == [True, False, False]


async def test_the_configuration_of_an_element_is_listed_and_picked_from(gateway: Gateway) -> None:
    element = (await gateway.http.get("/elements/egnyte")).json()
    items = (await gateway.http.get("/elements/egnyte/configuration")).json()
    assert items == element["configuration"]
    types = {"TEXTFIELD_32", "TEXTFIELD_64", "TEXTFIELD_128", "TEXTFIELD_1000", "TEXTAREA", "BOOLEAN"}
    assert {item["type"] for item in items} <= types | {"BOOLEAN_YESNO", "PASSWORD", "COMBO"}
    for item in items:
        for name in (item["key"], item["id"]):
            assert (await gateway.http.get(f"/elements/4016/configuration/{name}")).json() == item
    answer = await gateway.http.get("/elements/egnyte/configuration/nothing")
    assert answer.status_code == 404
    assert answer.json()["message"].startswith("No configuration")


async def test_an_element_says_how_its_accounts_are_authenticated(gateway: Gateway) -> None:
    assert (await gateway.http.get("/elements/egnyte/authentication-types")).json() == ["oauth2"]
    path = "/elements/egnyte/authentication-types"
    items = (await gateway.http.get(f"{path}/oauth2/configurations")).json()
    assert {item["key"] for item in items if item["required"]} == {
        "oauth.api.key", "oauth.api.secret", "oauth.callback.url", "subdomain"
    }  # fmt: skip
    assert not any(item["key"].startswith("event.") for item in items)
    answer = await gateway.http.get(f"{path}/basic/configurations")
    assert (answer.status_code, answer.json()["message"]) == (404, "No authentication type 'basic' found")


@pytest.mark.parametrize("key", ["box", "egnyte"])
async def test_the_metadata_of_an_element_say_how_its_events_are_had(gateway: Gateway, key: str) -> None:
    metadata = (await gateway.http.get(f"/elements/{key}/metadata", params={"expand": "true"})).json()
    element = (await gateway.http.get(f"/elements/{key}")).json()
    for name in ("id", "name", "key", "description", "image", "active", "beta", "cloneable"):
        assert metadata[name] == element[name]
    assert metadata["events"] == {
        "supported": True,
        "methods": ["polling", "webhook"],
        "webhook": {
            "file": {"eventTypes": ["created", "updated", "deleted"]},
            "folder": {"eventTypes": ["created", "updated", "deleted"]},
        },
        "polling": {
            "events": {
                "eventTypes": ["created", "updated", "deleted"],
                "pollUrl": "/hubs/documents/events",
            }
        },
    }
    assert set(metadata["discovery"].values()) == set(metadata["bulk"].values()) == {False}
    assert metadata in (await gateway.http.get("/elements/metadata")).json()


@pytest.mark.parametrize("base", [BASE_PATH, ""])
async def test_the_image_of_an_element_is_there(gateway: Gateway, base: str) -> None:
    for element in (await gateway.http.get("/elements")).json():
        url = f"http://gateway{base}/elements/images/{element['image']}"
        answer = await gateway.http.get(url, headers={"Accept": "image/*", "Authorization": "nonsense"})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "image/svg+xml"
        root = ElementTree.fromstring(answer.text)  # noqa: S314
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    answer = await gateway.http.get("/elements/images/elements/provider_nobox.svg")
    assert (answer.status_code, answer.json()["message"]) == (404, "No image found")


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


@pytest.mark.parametrize(
    "path",
    [
        *("", "/metadata", "/configuration", "/configuration/subdomain", "/authentication-types"),
        *("/authentication-types/oauth2/configurations", "/oauth/url?apiKey=a&callbackUrl=b"),
        *("/oauth/url/default", "/oauth/token"),
    ],
)
async def test_an_unknown_element_is_not_found(gateway: Gateway, path: str) -> None:
    for name in ("nobox", "0"):
        answer = await gateway.http.get(f"/elements/{name}{path}")
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("No element")
        assert answer.json()["message"].endswith("found")


@pytest.mark.parametrize("header", ["", "nonsense", "User", "User wrong, Organization wrong", "Bearer x"])
async def test_no_authorization_is_needed_and_any_will_do(gateway: Gateway, header: str) -> None:
    for path in (
        *("/elements", "/elements/keys", "/elements/metadata", "/elements/box", "/elements/box/metadata"),
        *("/elements/box/configuration", "/elements/box/authentication-types"),
        "/elements/box/oauth/url?apiKey=a&callbackUrl=http://x",
    ):
        answer = await gateway.http.get(path, headers={"Authorization": header})
        assert answer.status_code == 200


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


async def test_the_consent_url_can_be_asked_for_with_a_body(gateway: Gateway) -> None:
    more = {"siteAddress": "acme", "state": "s", "scope": None, "requestToken": None, "callbackProxy": False}
    asked = await gateway.http.get(
        "/elements/egnyte/oauth/url", params=OAUTH | {"subdomain": "acme", "state": "s"}
    )
    posted = await gateway.http.post("/elements/egnyte/oauth/url", json=OAUTH | more | {"other": [1]})
    assert posted.status_code == 200
    assert posted.json() == asked.json()
    without_key = {key: value for key, value in OAUTH.items() if key != "apiKey"}
    refused = await gateway.http.post("/elements/egnyte/oauth/url", json=without_key)
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("apiKey")


@pytest.mark.parametrize(
    "url", ["https://app.example.com/a?b=c", "com.example.app:/oauth", "urn:ietf:wg:oauth:2.0:oob"]
)
async def test_a_callback_url_may_have_any_scheme(gateway: Gateway, url: str) -> None:
    answer = await gateway.http.get("/elements/box/oauth/url", params=OAUTH | {"callbackUrl": url})
    assert parse_qs(urlsplit(answer.json()["oauthUrl"]).query)["redirect_uri"] == [url]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "/callback",
            "app.example.com",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
        ),
        *("https://app.example.com/\r\nx", " https://app.example.com"),
        "https://app.example.com/" + "x" * 2000,
    ],
)
async def test_a_callback_url_that_no_browser_can_be_sent_to_is_refused(gateway: Gateway, url: str) -> None:
    for answer in (
        await gateway.http.get("/elements/box/oauth/url", params=OAUTH | {"callbackUrl": url}),
        await gateway.http.post("/elements/box/oauth/url", json=OAUTH | {"callbackUrl": url}),
    ):
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("callbackUrl: ")


async def test_an_element_of_oauth_2_has_no_request_token(gateway: Gateway) -> None:
    answer = await gateway.http.get("/elements/box/oauth/token", params=OAUTH)
    assert answer.status_code == 400
    assert "OAuth 2" in answer.json()["message"]
