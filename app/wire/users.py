"""Users and their roles as `/users` takes and answers them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from app.store.tables import Role, User
from app.tenancy import roles
from app.tenancy.users import PASSWORD_LENGTHS, Wish
from app.wire import dates
from app.wire.lenient import LenientBody
from app.wire.names import MaybeName

_LONGEST_ADDRESS = 320  # characters
_ADDRESS = re.compile(r"[^@\s<>\x00-\x1f\x7f-\x9f]+@[^@\s<>\x00-\x1f\x7f-\x9f]+")

_ROLES = {
    Role.ORGANIZATION: ("Organization administrator", "Manages all accounts and users of the organization."),
    Role.ACCOUNT: ("Account administrator", "Manages the users and the settings of his account."),
    Role.USER: ("User", "Uses the instances of his account."),
}


def _address(text: str) -> str:
    plain = text.strip().lower()
    if not _ADDRESS.fullmatch(plain) or len(plain) > _LONGEST_ADDRESS:
        raise PydanticCustomError(
            "address",
            "must be an e-mail address of at most {longest} characters",
            {"longest": _LONGEST_ADDRESS},
        )
    return plain


Address = Annotated[str, AfterValidator(_address)]
Password = Annotated[SecretStr, Field(min_length=PASSWORD_LENGTHS[0], max_length=PASSWORD_LENGTHS[1])]


class _UserChanges(LenientBody):
    """What may be said of a user."""

    password: Password | None = None
    roles: (
        Annotated[list[Role], Field(min_length=1, max_length=100, description="The highest one counts.")]
        | None
    ) = None
    active: bool | None = None

    def _wish(self, email: str | None, first_name: str | None, last_name: str | None) -> Wish:
        return Wish(
            email=email,
            first_name=first_name,
            last_name=last_name,
            role=roles.highest(self.roles or ()),
            active=self.active,
            password=self.password.get_secret_value() if self.password else None,
        )


class UserOrder(_UserChanges):
    """The body of `POST` and `PUT`. Without `roles` a new user is a `user`; an old one stays what he is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "emailAddress": "ann@example.com",
                "firstName": "Ann",
                "lastName": "Lee",
                "password": "<PASSWORD>",
                "roles": ["user"],
            }
        }
    )

    emailAddress: Address
    firstName: MaybeName = ""
    lastName: MaybeName = ""

    def wish(self) -> Wish:
        return self._wish(self.emailAddress, self.firstName, self.lastName)


class UserUpdate(_UserChanges):
    """The body of `PATCH`: what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"lastName": "Lee-Smith", "active": False}})

    emailAddress: Address | None = None
    firstName: MaybeName | None = None
    lastName: MaybeName | None = None

    def wish(self) -> Wish:
        return self._wish(self.emailAddress, self.firstName, self.lastName)


class AccountUserBody(BaseModel):
    """A user of an account."""

    id: int
    emailAddress: str
    firstName: str
    lastName: str
    active: bool
    roles: list[Role]
    accountId: int
    createdDate: str
    updatedDate: str


class NewUserBody(AccountUserBody):
    """A user who was just made, with his secret: it is shown only this once."""

    secret: str


class RoleBody(BaseModel):
    """What a user may do; each role includes the ones below it."""

    key: Role
    name: str
    description: str


def user(found: User) -> AccountUserBody:
    return AccountUserBody(**_fields(found))


def new_user(found: User, secret: str) -> NewUserBody:
    return NewUserBody(**_fields(found), secret=secret)


def role(key: Role) -> RoleBody:
    name, description = _ROLES[key]
    return RoleBody(key=key, name=name, description=description)


def _fields(found: User) -> dict[str, Any]:
    return {
        "id": found.id,
        "emailAddress": found.email,
        "firstName": found.first_name,
        "lastName": found.last_name,
        "active": found.active,
        "roles": [Role(found.role)],
        "accountId": found.account_id,
        "createdDate": dates.seconds(found.created_at),
        "updatedDate": dates.seconds(found.updated_at),
    }
