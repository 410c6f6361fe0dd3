"""Elements as `GET /elements` and the instances spell them."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app import configuration
from app.hubs import documents
from app.hubs.documents import HUB_KEY, Power
from app.registry import Provider
from app.wire import dates
from app.wire.lenient import LenientBody

AUTHENTICATION_TYPE = "oauth2"

_SINCE = dates.seconds(datetime(2026, 1, 1, tzinfo=UTC))
"""Elements come with the program and have no dates of their own; clients sort by this one."""

_IMAGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img" aria-label="{name}">'
    '<rect width="64" height="64" rx="12" fill="#52616f"/>'
    '<text x="32" y="44" fill="#fff" font-family="sans-serif" font-size="34" text-anchor="middle">'
    "{letter}</text>"
    "</svg>"
)


class AuthenticationBody(BaseModel):
    type: str = AUTHENTICATION_TYPE


class ElementConfigurationBody(BaseModel):
    """One configuration key of an element."""

    id: int
    name: str
    key: str
    description: str
    defaultValue: str | None = None
    resellerConfig: bool = False
    companyConfig: bool = False
    active: bool = True
    internal: bool = False
    groupControl: bool = False
    displayOrder: int
    type: str
    hideFromConsole: bool
    required: bool


class ElementBody(BaseModel):
    """An element, as it stands in lists and in its instances. Abridged, it has no lists of its own."""

    id: int
    name: str
    hookName: str
    key: str
    description: str
    image: str
    active: bool = True
    deleted: bool = False
    typeOauth: bool = True
    trialAccount: bool = False
    trialAccountDescription: str = ""
    existingAccountDescription: str
    configDescription: str
    signupURL: str = ""
    elementProvisionType: str = AUTHENTICATION_TYPE
    authenticationType: str = AUTHENTICATION_TYPE
    transformationsEnabled: bool = False
    bulkDownloadEnabled: bool = False
    bulkUploadEnabled: bool = False
    cloneable: bool = False
    extendable: bool = False
    beta: bool = False
    authentication: AuthenticationBody = AuthenticationBody()
    extended: bool = False
    hub: str = HUB_KEY
    protocolType: str = "http"
    private: bool = False
    createdDate: str = _SINCE
    updatedDate: str = _SINCE
    resources: list[str] | None = []
    parameters: list[str] | None = []
    hooks: list[str] | None = []


class ConfigurableElementBody(ElementBody):
    """An element where it is asked for alone: with its configuration keys, and with `operations`, which are
    what its vendor can do; whatever is not among them is answered with 405."""

    configuration: list[ElementConfigurationBody]
    operations: list[str]


class PollingBody(BaseModel):
    """What the polling of one resource reports, and what it reads."""

    eventTypes: list[str] = ["created", "updated", "deleted"]
    pollUrl: str


class WebhookBody(BaseModel):
    """What a vendor that calls by itself tells of one kind of object."""

    eventTypes: list[str] = ["created", "updated", "deleted"]


class EventsBody(BaseModel):
    supported: bool
    methods: list[str]
    polling: dict[str, PollingBody]
    webhook: dict[str, WebhookBody] | None = None


class DiscoveryBody(BaseModel):
    customFields: bool = False
    customObjects: bool = False
    endpointCustomFields: bool = False
    endpointCustomObjects: bool = False


class BulkBody(BaseModel):
    upload: bool = False
    download: bool = False


class ElementMetadataBody(BaseModel):
    """What can be expected of an element, beside the calls of its hub."""

    id: int
    name: str
    key: str
    description: str
    image: str
    displayOrder: int
    active: bool = True
    beta: bool = False
    transformations: bool = False
    elementType: str = "public"
    normalizedPaging: bool = True
    cloneable: bool = False
    authenticationType: str = AUTHENTICATION_TYPE
    events: EventsBody
    discovery: DiscoveryBody = DiscoveryBody()
    bulk: BulkBody = BulkBody()


class DefaultOAuthUrlOrder(LenientBody):
    """What the owner of an account is asked for. Names that are not among these are not looked at."""

    callbackUrl: str = Field("", description="Redirect URI; the OAuth proxy's own where that is used.")
    scope: str = Field("", description="Scopes instead of the usual ones.")
    state: str = Field(
        "",
        description="Comes back with the code; the element's key if empty. With the OAuth proxy: the URL of "
        "your application that the code goes on to.",
    )
    subdomain: str = Field("", description="The account's subdomain.")
    siteAddress: str = Field("", description="Same as subdomain.")
    isOauthProxy: bool = Field(False, description="The answer comes to the gateway, which passes it on.")
    callbackProxy: bool = Field(False, description="Same as isOauthProxy.")
    oauthProxyName: str = Field("", description="Accepted; there is one OAuth proxy.")
    requestToken: str = Field("", description="Accepted; no element is of the kind OAuth 1.")


class OAuthUrlOrder(DefaultOAuthUrlOrder):
    """The same for an app of your own."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "apiKey": "<CONSUMER_KEY>",
                "apiSecret": "<CONSUMER_SECRET>",
                "callbackUrl": "https://app.example.com/oauth",
                "subdomain": "acme",
            }
        },
    )

    apiKey: str = Field(min_length=1, description="Client id of your app.")
    apiSecret: str = Field("", repr=False, description="Its secret; not used here.")


class OAuthUrlBody(BaseModel):
    """Where the owner of an account gives his consent."""

    element: str
    oauthUrl: str


class DefaultOAuthUrlBody(OAuthUrlBody):
    """The same for the operator's app, whose secret is shown as stars."""

    configuration: dict[str, str]


def element(provider: Provider, *, abridged: bool = False) -> ElementBody:
    lists = dict.fromkeys(("resources", "parameters", "hooks")) if abridged else {}
    return ElementBody(**_facts(provider), **lists)


def configurable_element(provider: Provider) -> ConfigurableElementBody:
    return ConfigurableElementBody(
        **_facts(provider), configuration=configuration_items(provider), operations=sorted(provider.powers)
    )


def configuration_items(provider: Provider) -> list[ElementConfigurationBody]:
    """The configuration keys of an element in their order."""
    fields = enumerate(configuration.fields(provider), start=1)
    return [_item(provider, order, field) for order, field in fields]


def authentication_items(provider: Provider) -> list[ElementConfigurationBody]:
    """Those of them that authenticate an account."""
    items = configuration_items(provider)
    return [item for item in items if item.required or item.key.startswith("oauth.")]


def metadata(provider: Provider, order: int) -> ElementMetadataBody:
    polled, called = Power.CHANGES in provider.powers, Power.WEBHOOKS in provider.powers
    return ElementMetadataBody(
        id=provider.element_id,
        name=provider.name,
        key=provider.key,
        description=provider.description,
        image=image_name(provider),
        displayOrder=order,
        events=EventsBody(
            supported=polled,
            methods=["polling"] * polled + ["webhook"] * called,
            polling={"events": PollingBody(pollUrl=f"/hubs/{HUB_KEY}/events")} if polled else {},
            webhook={"file": WebhookBody(), "folder": WebhookBody()} if called else None,
        ),
    )


def default_oauth_url(
    provider: Provider, url: str, *, api_key: str, callback_url: str
) -> DefaultOAuthUrlBody:
    """`configuration` is what `POST /instances` needs to know of the operator's app."""
    shown = {
        "oauth.api.key": api_key,
        "oauth.callback.url": callback_url,
        "oauth.api.secret": configuration.MASK,
        "secret": configuration.MASK,
    }
    return DefaultOAuthUrlBody(element=provider.key, oauthUrl=url, configuration=shown)


def image_name(provider: Provider) -> str:
    """Where the image of an element is, below `/elements/images/`."""
    return f"elements/provider_{provider.key}.svg"


def image(provider: Provider) -> str:
    """The first letter of the name; logos are their owners'."""
    return _IMAGE.format(name=escape(provider.name), letter=escape(provider.name[:1].upper()))


def _facts(provider: Provider) -> dict[str, Any]:
    return {
        "id": provider.element_id,
        "name": provider.name,
        "hookName": provider.name,
        "key": provider.key,
        "description": provider.description,
        "image": image_name(provider),
        "existingAccountDescription": f"Give your consent at {provider.name} to connect your account.",
        "configDescription": f"Register an app at {provider.name} and enter its key and secret.",
    }


def _item(provider: Provider, order: int, field: documents.Field) -> ElementConfigurationBody:
    return ElementConfigurationBody(
        id=provider.element_id * 100 + order,
        name=field.name,
        key=field.key,
        description=field.description,
        defaultValue=field.default,
        displayOrder=order,
        type=field.kind,
        hideFromConsole=field.hidden,
        required=field.required,
    )
