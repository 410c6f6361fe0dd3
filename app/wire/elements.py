"""Elements as `GET /elements` and the instances spell them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app import configuration
from app.hubs.documents import HUB_KEY, Field
from app.registry import Provider


class AuthenticationBody(BaseModel):
    type: str = "oauth2"


class ElementConfigurationBody(BaseModel):
    """One configuration key of an element."""

    id: int
    name: str
    key: str
    description: str
    defaultValue: str | None
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
    """An element, as it stands in lists and in its instances."""

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
    configDescription: str
    resources: list[str] = []
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
    parameters: list[str] = []
    private: bool = False


class ConfigurableElementBody(ElementBody):
    """An element where it is asked for alone: with its configuration keys, and with `operations`, which are
    what its vendor can do; whatever is not among them is answered with 405."""

    configuration: list[ElementConfigurationBody]
    operations: list[str]


class OAuthUrlBody(BaseModel):
    """Where the owner of an account gives his consent."""

    element: str
    oauthUrl: str


def element(provider: Provider) -> ElementBody:
    return ElementBody(**_facts(provider))


def configurable_element(provider: Provider) -> ConfigurableElementBody:
    return ConfigurableElementBody(
        **_facts(provider), configuration=configuration_items(provider), operations=sorted(provider.powers)
    )


def configuration_items(provider: Provider) -> list[ElementConfigurationBody]:
    """The configuration keys of an element in their order."""
    fields = enumerate(configuration.fields(provider), start=1)
    return [_item(provider, order, field) for order, field in fields]


def _facts(provider: Provider) -> dict[str, Any]:
    return {
        "id": provider.element_id,
        "name": provider.name,
        "hookName": provider.name,
        "key": provider.key,
        "description": provider.description,
        "image": f"elements/provider_{provider.key}.png",
        "configDescription": f"Register an app at {provider.name} and enter its key and secret.",
    }


def _item(provider: Provider, order: int, field: Field) -> ElementConfigurationBody:
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
