"""Egnyte's webhooks: Egnyte Connect webhooks, the API that makes and ends them."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from app.sandbox.egnyte.access import Caller, CallerDep, RefusalError
from app.sandbox.egnyte.hooks import TYPES, WILDCARDS, Hook, QuotaError
from app.sandbox.world import segments

router = APIRouter(prefix="/pubapi/v1/webhooks")
_SCOPE = "Egnyte.webhooks"
_MOST_PATHS = 100


class NewHook(BaseModel):
    """A webhook to make; an absent `eventType` stands for all of them."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    url: str
    event_type: list[str] = []
    path: str = ""
    auth_header: str | None = None
    auth_header_value: str | None = None

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("is no URL")
        return value

    @field_validator("event_type")
    @classmethod
    def _are_known(cls, value: list[str]) -> list[str]:
        if unknown := set(value) - TYPES - WILDCARDS:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        return value

    @field_validator("path")
    @classmethod
    def _are_few(cls, value: str) -> str:
        if value.count(",") >= _MOST_PATHS:
            raise ValueError(f"names more than {_MOST_PATHS} paths")
        return value

    def paths(self) -> list[str]:
        """The folders, with their slashes where they belong."""
        return ["/" + "/".join(segments(path)) for path in self.path.split(",") if path.strip()]


class Status(BaseModel):
    """Whether a webhook calls."""

    status: Literal["enabled", "disabled"]


def _refused(status: int, code: str, message: str) -> RefusalError:
    return RefusalError(JSONResponse({"code": code, "message": message}, status_code=status))


def _manager(caller: CallerDep) -> Caller:
    scopes = caller.token.scope.split()
    if scopes and _SCOPE not in scopes:
        raise _refused(403, "INSUFFICIENT_SCOPE", f"The token has no scope {_SCOPE}")
    if not caller.user.is_admin:
        raise _refused(403, "FORBIDDEN", "Only an administrator can manage webhooks")
    return caller


ManagerDep = Annotated[Caller, Depends(_manager)]


def _hook(caller: ManagerDep, hook_id: str) -> Hook:
    found = caller.domain.hooks.living().get(hook_id)
    if found is None:
        raise _refused(404, "NOT_FOUND", f"No webhook {hook_id}")
    return found


HookDep = Annotated[Hook, Depends(_hook)]


async def _wish(request: Request) -> NewHook:
    try:
        return NewHook.model_validate_json(await request.body())
    except ValidationError as error:
        problem = error.errors()[0]
        raise _refused(400, "INVALID", f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


WishDep = Annotated[NewHook, Depends(_wish)]


@router.post("", response_model=None)
async def create(caller: ManagerDep, wish: WishDep) -> JSONResponse:
    """Makes a webhook."""
    hooks = caller.domain.hooks
    hook = Hook(str(uuid.uuid4()), wish.url, [], [], None, None, hooks.until())
    _change(hook, wish)
    try:
        hooks.add(hook)
    except QuotaError:
        raise _refused(409, "QUOTA_EXCEEDED", "The domain has as many webhooks as it may") from None
    return JSONResponse(_promise(hook), status_code=201)


@router.get("")
async def webhooks(caller: ManagerDep) -> list[dict[str, Any]]:
    """Every webhook of the domain; what its header carries is not shown."""
    return [_row(hook) for hook in caller.domain.hooks.living().values()]


@router.get("/{hook_id}")
async def webhook(hook: HookDep) -> dict[str, Any]:
    """One webhook."""
    return _row(hook)


@router.put("/{hook_id}")
async def replace(caller: ManagerDep, hook: HookDep, wish: WishDep) -> dict[str, Any]:
    """Changes a webhook and lets it go on for as long as a new one; a disabled one stays disabled."""
    _change(hook, wish)
    hook.expires = caller.domain.hooks.until()
    return _promise(hook)


@router.delete("/{hook_id}")
async def delete(caller: ManagerDep, hook: HookDep) -> dict[str, Any]:
    """Ends a webhook."""
    caller.domain.hooks.remove(hook)
    return {}


@router.get("/{hook_id}/status")
async def status(hook: HookDep) -> dict[str, str]:
    """Whether it calls."""
    return {"status": hook.status}


@router.post("/{hook_id}/status")
async def set_status(hook: HookDep, wanted: Status) -> dict[str, str]:
    """Lets it call again, or no longer."""
    hook.status, hook.failures = wanted.status, 0
    return {"status": hook.status}


@router.get("/{hook_id}/details")
async def details(caller: ManagerDep, hook: HookDep) -> dict[str, Any]:
    """The webhook with its last calls."""
    calls = [call for call in caller.domain.hooks.calls if call["webhookId"] == hook.id]
    return {**_row(hook), "failures": hook.failures, "calls": calls[-20:]}


def _change(hook: Hook, wish: NewHook) -> None:
    hook.url, hook.types, hook.paths = wish.url, wish.event_type, wish.paths()
    hook.header, hook.value = wish.auth_header, wish.auth_header_value


def _promise(hook: Hook) -> dict[str, Any]:
    return {"webhookId": hook.id, "expires": int(hook.expires.timestamp()), "status": hook.status}


def _row(hook: Hook) -> dict[str, Any]:
    return {**_promise(hook), "url": hook.url, "eventType": hook.types, "path": ",".join(hook.paths)}
