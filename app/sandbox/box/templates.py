"""Metadata templates: https://developer.box.com/reference/resources/metadata-template/."""

import re
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from app.sandbox.box.access import Body, CallerDep, read
from app.sandbox.box.domain import ENTERPRISE_SCOPE, Enterprise, Template
from app.sandbox.box.errors import BoxError, bad_request, forbidden, not_found
from app.sandbox.box.shapes import Shape

router = APIRouter(prefix="/2.0/metadata_templates")


class NewTemplate(Body):
    """A template to make; without a key it gets one from its name."""

    scope: str
    name: str = Field(alias="displayName")
    key: str | None = Field(None, alias="templateKey")
    hidden: bool = False
    fields: list[dict[str, Any]] = Field(default_factory=list)
    copied: bool = Field(False, alias="copyInstanceOnItemCopy")


@router.post("/schema", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Makes a template of the enterprise."""
    wish, templates = await read(request, NewTemplate), caller.enterprise.templates
    if not caller.user.is_admin:
        raise forbidden()
    if full_scope(wish.scope) != ENTERPRISE_SCOPE:
        raise bad_request("Only templates of the enterprise can be made", "scope")
    key = wish.key or _key_from(wish.name)
    if (ENTERPRISE_SCOPE, key) in templates:
        raise BoxError(409, "tuple_already_exists", "A template with that key exists already")
    fields = [{"id": str(uuid.uuid4()), "hidden": False, **field} for field in wish.fields]
    made = Template(str(uuid.uuid4()), ENTERPRISE_SCOPE, key, wish.name, wish.hidden, wish.copied, fields)
    templates[made.scope, key] = made
    return JSONResponse(_shape(made), status_code=201)


@router.get("/{scope}/{key}/schema")
async def schema(caller: CallerDep, scope: str, key: str) -> dict[str, Any]:
    """One template."""
    return _shape(find_template(caller.enterprise, scope, key))


@router.delete("/{scope}/{key}/schema", response_model=None)
async def delete(caller: CallerDep, scope: str, key: str) -> Response:
    """Takes a template away, with all that items have for it."""
    found = find_template(caller.enterprise, scope, key)
    if not caller.user.is_admin or found.scope != ENTERPRISE_SCOPE:
        raise forbidden()
    del caller.enterprise.templates[found.scope, found.key]
    for item in caller.enterprise.tree.active():
        item.metadata.pop((found.scope, found.key), None)
    return Response(status_code=204)


@router.get("/{scope_or_id}")
async def templates(
    caller: CallerDep, scope_or_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """The templates of a scope, or the one with that id."""
    known = caller.enterprise.templates.values()
    one = next((template for template in known if template.id == scope_or_id), None)
    if one is not None:
        return _shape(one)
    scope = full_scope(scope_or_id)
    if scope not in ("global", ENTERPRISE_SCOPE):
        raise not_found("template", scope_or_id)
    found = [_shape(template) for template in known if template.scope == scope]
    return {"limit": limit, "entries": found[:limit], "next_marker": None, "prev_marker": None}


def full_scope(scope: str) -> str:
    """A scope with the id of the enterprise; clients may leave that out."""
    return ENTERPRISE_SCOPE if scope == "enterprise" else scope


def find_template(enterprise: Enterprise, scope: str, key: str) -> Template:
    """The template with that key."""
    found = enterprise.templates.get((full_scope(scope), key))
    if found is None:
        message = f"Specified Metadata Template not found: {scope}.{key}"
        raise BoxError(404, "instance_tuple_not_found", message)
    return found


def _key_from(name: str) -> str:
    words: list[str] = re.findall(r"[A-Za-z0-9]+", name) or ["template"]
    return words[0].lower() + "".join(word.capitalize() for word in words[1:])


def _shape(template: Template) -> Shape:
    return {
        "id": template.id,
        "type": "metadata_template",
        "templateKey": template.key,
        "scope": template.scope,
        "displayName": template.name,
        "hidden": template.hidden,
        "copyInstanceOnItemCopy": template.copied,
        "fields": template.fields,
    }
