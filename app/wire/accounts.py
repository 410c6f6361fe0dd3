"""Accounts and their settings as `/accounts` takes and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app import configuration
from app.errors import BadRequest
from app.tenancy.accounts import Found
from app.wire import dates
from app.wire.names import MaybeName, Name

_LONGEST_KEY = 200  # characters
_LONGEST_VALUE = 2000

Description = Annotated[str, Field(max_length=5000)]


class AccountOrder(BaseModel):
    """The body of `POST /accounts` and `PUT /accounts/{id}`. What else an account shows is not read."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {"name": "Acme", "description": "The Acme files", "externalId": "acme-17"}
        },
    )

    name: Name
    description: Description | None = None
    externalId: MaybeName | None = None

    def values(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "external_id": self.externalId}


class AccountUpdate(BaseModel):
    """The body of `PATCH /accounts/{id}`: what is not named stays, a null takes a text away."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": {"externalId": "acme-18"}})

    name: Name | None = None
    description: Description | None = None
    externalId: MaybeName | None = None

    def values(self) -> dict[str, Any]:
        named = {"description": self.description, "externalId": self.externalId}
        columns = {"description": "description", "externalId": "external_id"}
        found = {columns[key]: value for key, value in named.items() if key in self.model_fields_set}
        return found if self.name is None else {"name": self.name, **found}


class AccountBody(BaseModel):
    """What owns instances. `defaultAccount` is the organization's first one."""

    id: int
    name: str
    description: str | None = None
    externalId: str | None = None
    defaultAccount: bool
    createdDate: str
    updatedDate: str


def account(found: Found) -> AccountBody:
    row = found.account
    return AccountBody(
        id=row.id,
        name=row.name,
        description=row.description,
        externalId=row.external_id,
        defaultAccount=found.default,
        createdDate=dates.seconds(row.created_at),
        updatedDate=dates.seconds(row.updated_at),
    )


def settings(given: Mapping[str, Any]) -> dict[str, str | None]:
    """Settings as they are kept: every value a text. Raises BadRequest that names the one that cannot be."""
    return {_key(key): _text(key, value) for key, value in given.items()}


def _key(key: str) -> str:
    if not key or len(key) > _LONGEST_KEY:
        raise BadRequest(
            f"settings: the key {key[:40]!r} is empty or has more than {_LONGEST_KEY} characters"
        )
    return key


def _text(key: str, value: Any) -> str | None:
    if isinstance(value, dict | list):
        raise BadRequest(f"{key}: must be a text, a number or a boolean")
    text = configuration.as_text(value)
    if text is not None and len(text) > _LONGEST_VALUE:
        raise BadRequest(f"{key}: is longer than {_LONGEST_VALUE} characters")
    return text
