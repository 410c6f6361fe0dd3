"""Instances as `/instances` takes and answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)

from app import configuration, event_settings
from app.errors import BadRequest
from app.registry import Provider
from app.store.tables import ExternalAuthentication, Instance, Poller, User, VendorWebhook
from app.vault.credentials import Secrets
from app.wire import dates, elements
from app.wire.elements import ElementBody, ElementConfigurationBody
from app.wire.lenient import LenientBody
from app.wire.names import MOST_TAGS, Words

_LARGEST_IMPORTED = 2**53 - 1  # what JavaScript can count, and far from where ids end
_OTHERS = 2**40
"""Ids of configuration keys that no element knows begin here, and are told apart by their checksum."""


class ElementReference(BaseModel):
    """An element by its key or its id."""

    model_config = ConfigDict(extra="allow")

    key: str | None = Field(None, max_length=200)
    id: int | None = None

    @property
    def key_or_id(self) -> str:
        """What names the element; empty where nothing does."""
        return self.key or (str(self.id) if self.id is not None else "")


class InstanceOrder(LenientBody):
    """The body of `POST /instances`. Values of `configuration` may be of any JSON type."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "element": {"key": "egnyte"},
                "providerData": {"code": "<AUTHORIZATION_GRANT_CODE>"},
                "configuration": {
                    "oauth.callback.url": "https://app.example.com/oauth",
                    "oauth.api.key": "<CONSUMER_KEY>",
                    "oauth.api.secret": "<CONSUMER_SECRET>",
                    "subdomain": "acme",
                    "event.notification.enabled": True,
                    "event.notification.callback.url": "https://app.example.com/changes",
                    "event.poller.refresh_interval": "15",
                },
                "tags": ["Docs"],
                "name": "Acme files",
            }
        },
    )

    element: ElementReference = ElementReference()
    providerData: dict[str, Any] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    tags: list[Words] = Field(default_factory=list, max_length=MOST_TAGS)
    name: Words = ""
    externalAuthentication: ExternalAuthentication = ExternalAuthentication.NONE


class InstanceUpdate(LenientBody):
    """The body of a PUT or PATCH: whatever is to change, or the whole instance. `configuration` is merged key
    by key; eight stars, and whatever is as it was shown, are unchanged, and null unsets a key. A new
    `providerData.code` authenticates the instance again."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Acme files",
                "tags": ["Docs"],
                "configuration": {"event.notification.callback.url": "https://app.example.com/changes"},
            }
        },
    )

    element: ElementReference = ElementReference()
    providerData: dict[str, Any] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    tags: list[Words] | None = Field(None, max_length=MOST_TAGS)
    name: Words | None = None
    externalAuthentication: ExternalAuthentication | None = None


class ExportedInstance(LenientBody):
    """An instance as another service of this API answered it. Of what it has forgotten, nothing is missed."""

    id: int | None = Field(None, ge=1, le=_LARGEST_IMPORTED)
    element: ElementReference = ElementReference()
    elementId: int | None = None
    name: Words = ""
    tags: list[Words] = Field(default_factory=list, max_length=MOST_TAGS)
    token: str | None = Field(None, max_length=500)
    configuration: dict[str, Any] = Field(default_factory=dict)
    createdDate: AwareDatetime | None = None
    valid: bool = True
    disabled: bool = False
    externalAuthentication: ExternalAuthentication = ExternalAuthentication.NONE

    @property
    def label(self) -> str:
        """What a person knows it by."""
        return f"{self.id or '?'} {self.element.key or self.elementId or ''} '{self.name}'"

    @field_validator("tags", mode="before")
    @classmethod
    def _names(cls, tags: Any) -> Any:
        """The oldest form of a tag is an object with an id and a name."""
        if isinstance(tags, list):
            return [tag.get("name") if isinstance(tag, dict) else tag for tag in tags]
        return tags

    @field_validator("configuration", mode="before")
    @classmethod
    def _by_key(cls, values: Any) -> Any:
        """A configuration may also be the list that `GET /instances/{id}/configuration` answers."""
        if isinstance(values, list) and all(isinstance(item, dict) and "key" in item for item in values):
            return {str(item["key"]): item.get("propertyValue") for item in values}
        return values

    @field_validator("token", mode="before")
    @classmethod
    def _shown(cls, token: Any) -> Any:
        return None if token in ("", configuration.MASK) else token

    @field_validator("externalAuthentication", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return value if value in list(ExternalAuthentication) else ExternalAuthentication.NONE


class ConfigurationUpdate(BaseModel):
    """The new value of one configuration key, null for none; the whole item may be sent back."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": {"propertyValue": "true"}})

    propertyValue: Any


class ConfigurationBody(BaseModel):
    """One configuration key of an instance with its value."""

    id: int
    key: str
    name: str
    description: str
    propertyValue: str | None
    active: bool = True
    required: bool
    type: str
    hideFromConsole: bool


class CountBody(BaseModel):
    """How many instances an account has."""

    totalInstances: int
    elementInstances: dict[str, int]


class UserBody(BaseModel):
    id: int
    emailAddress: str
    firstName: str
    lastName: str


class GapBody(BaseModel):
    """A time whose events the vendor no longer had when it was asked."""

    model_config = ConfigDict(populate_by_name=True)

    since: str | None = Field(None, alias="from")
    until: str = Field(alias="to")


class PollerBody(BaseModel):
    """How the polling of one resource fares; the gateway's own addition to Cloud Elements' instance."""

    resource: str
    longPolling: bool
    lastPollDate: str | None = None
    nextPollDate: str | None = None
    failures: int
    error: str | None = None
    errorDate: str | None = None
    gap: GapBody | None = None


class VendorWebhookBody(BaseModel):
    """How the vendor's own calls fare, where the instance asks for them; the gateway's own addition, too."""

    active: bool
    expiresDate: str | None = None
    received: int
    receivedDate: str | None = None
    refused: int
    refusedDate: str | None = None
    error: str | None = None
    errorDate: str | None = None


class InstanceBody(BaseModel):
    """An instance; secrets are shown as eight stars, except its own token."""

    id: int
    name: str
    createdDate: str
    updatedDate: str
    token: str
    element: ElementBody
    elementId: int
    tags: list[str]
    provisionInteractions: list[str] = []
    valid: bool
    disabled: bool
    maxCacheSize: int = 0
    cacheTimeToLive: int = 0
    configuration: dict[str, str | None] | None = None
    eventsEnabled: bool
    traceLoggingEnabled: bool = False
    cachingEnabled: bool = False
    externalAuthentication: str
    user: UserBody
    pollers: list[PollerBody]
    vendorWebhook: VendorWebhookBody | None = None


def instance(
    found: Instance,
    secrets: Secrets,
    provider: Provider,
    owner: User,
    pollers: Sequence[Poller],
    webhook: VendorWebhook | None = None,
    *,
    hydrate: bool = True,
) -> InstanceBody:
    """Without `hydrate`, the configuration is left out."""
    values = _configuration(found, secrets, provider)
    return InstanceBody(
        id=found.id,
        name=found.name,
        createdDate=dates.seconds(found.created_at),
        updatedDate=dates.seconds(found.updated_at),
        token=secrets.token,
        element=elements.element(provider),
        elementId=provider.element_id,
        tags=found.tags,
        valid=found.valid,
        disabled=found.disabled,
        configuration=values if hydrate else None,
        eventsEnabled=event_settings.enabled(values),
        externalAuthentication=found.external_authentication,
        user=UserBody(
            id=owner.id,
            emailAddress=owner.email,
            firstName=owner.first_name,
            lastName=owner.last_name,
        ),
        pollers=[_poller(item) for item in pollers],
        vendorWebhook=_vendor_webhook(webhook) if webhook else None,
    )


def items(found: Instance, secrets: Secrets, provider: Provider) -> list[ConfigurationBody]:
    """The configuration as a list. Keys that the element does not know have an id as well."""
    values = _configuration(found, secrets, provider)
    known = {item.key: item for item in elements.configuration_items(provider)}
    return [_item(key, value, known.get(key)) for key, value in values.items()]


def _item(key: str, value: str | None, known: ElementConfigurationBody | None) -> ConfigurationBody:
    return ConfigurationBody(
        id=known.id if known else _OTHERS + crc32(key.encode()),
        key=key,
        name=known.name if known else key,
        description=known.description if known else "",
        propertyValue=value,
        required=known.required if known else False,
        type=known.type if known else "TEXTFIELD_1000",
        hideFromConsole=known.hideFromConsole if known else False,
    )


def _configuration(found: Instance, secrets: Secrets, provider: Provider) -> dict[str, str | None]:
    """Every key of the element, null where it is not set, then whatever else the client sent."""
    values: dict[str, str | None] = {field.key: field.default for field in configuration.fields(provider)}
    values |= found.configuration | dict(secrets.values)
    return {key: configuration.shown(key, value) for key, value in values.items()}


def _poller(item: Poller) -> PollerBody:
    return PollerBody(
        resource=item.resource,
        longPolling=item.waits,
        lastPollDate=_date(item.polled_at),
        nextPollDate=_date(item.due_at) if not (item.waits and item.fence) else None,
        failures=item.failures,
        error=item.error,
        errorDate=_date(item.error_at),
        gap=GapBody(since=_date(item.gap_from), until=dates.seconds(item.gap_to)) if item.gap_to else None,
    )


def _vendor_webhook(item: VendorWebhook) -> VendorWebhookBody:
    return VendorWebhookBody(
        active=bool(item.hooks),
        expiresDate=_date(item.expires_at),
        received=item.received,
        receivedDate=_date(item.received_at),
        refused=item.refused,
        refusedDate=_date(item.refused_at),
        error=item.error,
        errorDate=_date(item.error_at),
    )


def _date(moment: Any) -> str | None:
    return dates.seconds(moment) if moment else None


def given(values: Mapping[str, Any]) -> dict[str, str | None]:
    """A configuration that somebody sets now, as it is kept. Raises BadRequest for what it must not hold."""
    found = configuration.as_texts(values)
    if "" in found:
        raise BadRequest("configuration: a key is empty")
    configuration.check_choices(found)
    return found
