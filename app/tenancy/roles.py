"""Who may do what: an `org-admin` manages the organization, an `admin` his account, a `user` himself."""

from __future__ import annotations

from collections.abc import Iterable

from app.errors import Forbidden
from app.store.tables import Role, User
from app.store.tenants import Caller

_RISING = (Role.USER, Role.ACCOUNT, Role.ORGANIZATION)


def includes(role: Role, other: Role) -> bool:
    """Whether one may do with `role` what one may do with `other`."""
    return _RISING.index(role) >= _RISING.index(other)


def highest(roles: Iterable[Role]) -> Role | None:
    """The one that counts; None where there is none."""
    return max(roles, key=_RISING.index, default=None)


def require(caller: Caller, role: Role) -> None:
    """Raises Forbidden for a caller with less than this role."""
    if not includes(caller.role, role):
        raise Forbidden(f"This needs the role '{role}'")


def check_account(caller: Caller, account_id: int) -> None:
    """Raises Forbidden for another account than the caller's, unless he manages all of them."""
    if account_id != caller.account_id and caller.role is not Role.ORGANIZATION:
        raise Forbidden("Only an organization's administrator sees other accounts")


def check_grant(caller: Caller, role: Role) -> None:
    """Raises Forbidden for a role above the caller's own, which is not his to give."""
    if not includes(caller.role, role):
        raise Forbidden(f"The role '{role}' can be given only by who has it")


def sees(caller: Caller, user: User) -> bool:
    """Whether a caller who manages users sees this one of his organization."""
    return caller.role is Role.ORGANIZATION or user.account_id == caller.account_id


def check_manages(caller: Caller, user: User) -> None:
    """Raises Forbidden for a user whom the caller sees and does not manage, as anybody with a higher role."""
    require(caller, Role.ACCOUNT)
    if not includes(caller.role, Role(user.role)):
        raise Forbidden(f"A user with the role '{user.role}' is managed by who has it too")
