"""Instances as `/instances` takes and answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app import configuration
from app.configuration import MASK
from app.credentials import Secrets
from app.registry import Provider
from app.store.tables import Instance, Poller
from app.store.tenants import Caller
from app.wire import dates, elements
from app.wire.elements import ElementBody


class ElementReference(BaseModel):
    """An element by its key or its id."""

    model_config = ConfigDict(extra="allow")

    key: str | None = None
    id: int | None = None


class InstanceOrder(BaseModel):
    """The body of `POST /instances`. Values of `configuration` may be of any JSON type."""

    model_config = ConfigDict(
        extra="allow",
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

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        """A field that is null is as good as absent."""
        if isinstance(body, dict):
            return {key: value for key, value in body.items() if value is not None}
        return body

    element: ElementReference
    providerData: dict[str, Any] = {}
    configuration: dict[str, Any] = {}
    tags: list[str] = []
    name: str = Field("", max_length=500)


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
    lastPollDate: str | None
    nextPollDate: str | None
    failures: int
    error: str | None
    errorDate: str | None
    gap: GapBody | None


class InstanceBody(BaseModel):
    """An instance; secrets are shown as eight stars, except its own token."""

    id: int
    name: str
    createdDate: str
    token: str
    element: ElementBody
    elementId: int
    tags: list[str]
    provisionInteractions: list[str] = []
    valid: bool
    disabled: bool
    maxCacheSize: int = 0
    cacheTimeToLive: int = 0
    configuration: dict[str, str | None]
    eventsEnabled: bool
    traceLoggingEnabled: bool = False
    cachingEnabled: bool = False
    externalAuthentication: str
    user: UserBody
    pollers: list[PollerBody]


def instance(
    found: Instance, secrets: Secrets, provider: Provider, caller: Caller, pollers: Sequence[Poller]
) -> InstanceBody:
    shown = _configuration(found, secrets, provider)
    return InstanceBody(
        id=found.id,
        name=found.name,
        createdDate=dates.seconds(found.created_at),
        token=secrets.token,
        element=elements.element(provider),
        elementId=provider.element_id,
        tags=found.tags,
        valid=found.valid,
        disabled=found.disabled,
        configuration=shown,
        eventsEnabled=(shown.get("event.notification.enabled") or "").lower() == "true",
        externalAuthentication=found.external_authentication,
        user=UserBody(
            id=found.user_id,
            emailAddress=caller.email,
            firstName=caller.first_name,
            lastName=caller.last_name,
        ),
        pollers=[_poller(item) for item in pollers],
    )


def _configuration(found: Instance, secrets: Secrets, provider: Provider) -> dict[str, str | None]:
    """Every key of the element, null where it is not set, then whatever else the client sent."""
    shown: dict[str, str | None] = {field.key: field.default for field in configuration.fields(provider)}
    shown |= found.configuration
    shown |= {key: MASK if configuration.is_secret(key) else value for key, value in secrets.values.items()}
    return shown


def _poller(item: Poller) -> PollerBody:
    return PollerBody(
        resource=item.resource,
        lastPollDate=_date(item.polled_at),
        nextPollDate=_date(item.due_at),
        failures=item.failures,
        error=item.error,
        errorDate=_date(item.error_at),
        gap=GapBody(since=_date(item.gap_from), until=dates.seconds(item.gap_to)) if item.gap_to else None,
    )


def _date(moment: Any) -> str | None:
    return dates.seconds(moment) if moment else None


def texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    """A configuration as it is kept: every value a string."""
    return {key: configuration.as_text(value) for key, value in values.items()}
