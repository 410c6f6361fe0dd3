"""Logins and secrets as `/authentication` and the changes of secrets take and answer them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.tenancy.tenants import NewSecrets


class LoginOrder(BaseModel):
    """The body of `POST /authentication`. `username` is the user's e-mail address, in any case."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"example": {"username": "ann@example.com", "password": "<PASSWORD>"}},
    )

    username: str = Field(max_length=320)
    password: SecretStr = Field(max_length=1000)


class TokenBody(BaseModel):
    """What a login answers. `Authorization: Bearer <token>` stands for a User and an Organization secret."""

    model_config = ConfigDict(json_schema_extra={"example": {"token": "<TOKEN>"}})

    token: str


class UserSecretBody(BaseModel):
    """A user's new secret, shown once."""

    model_config = ConfigDict(json_schema_extra={"example": {"userSecret": "<SECRET>"}})

    userSecret: str


class OrganizationSecretBody(BaseModel):
    """An organization's new secret, shown once."""

    model_config = ConfigDict(json_schema_extra={"example": {"organizationSecret": "<SECRET>"}})

    organizationSecret: str


class SecretsBody(BaseModel):
    """A pair of secrets, shown once."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"userSecret": "<SECRET>", "organizationSecret": "<SECRET>"}}
    )

    userSecret: str
    organizationSecret: str


def pair(made: NewSecrets) -> SecretsBody:
    return SecretsBody(userSecret=made.user, organizationSecret=made.organization)
