"""Custom fields: named sets of values that an account puts on its files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response

from app.api.answers import AnswersDep, done
from app.api.bodies import JsonRoute
from app.api.problems import responses
from app.api.targets import TargetDep, TwinRouter, able
from app.errors import NotFound
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Kind
from app.wire import documents as wire
from app.wire.documents import FieldTemplateBody, FieldValuesBody

templates = APIRouter(
    route_class=JsonRoute, tags=["custom fields"], responses=responses(400, 401, 403, 404, 405, 429, 502)
)
values = TwinRouter(Kind.FILE, tag="custom fields")

_PATH = "/custom-fields-templates/{templateKey}/custom-fields"

HubDep = Annotated[DocumentsProvider, able(Power.CUSTOM_FIELDS)]
TemplateKey = Annotated[str, Path(alias="templateKey", max_length=200, description="Key of the template.")]
ScopeQuery = Annotated[
    str | None, Query(max_length=200, description="Where the template is known, e.g. `global`, `enterprise`.")
]
ValuesBody = Annotated[dict[str, Any], Body(examples=[{"customer": "ACME"}])]


@templates.get("/custom-fields-templates", response_model=list[FieldTemplateBody])
@templates.get(
    "/custom-fields/templates", response_model=list[FieldTemplateBody], name="list_field_templates"
)
async def list_templates(hub: HubDep, answers: AnswersDep, scope: ScopeQuery = None) -> Response:
    """Lists the templates of custom fields."""
    return answers.many([wire.field_template(item) for item in await hub.field_templates(scope)])


@values.route("GET", "/custom-fields", response_model=list[FieldValuesBody])
async def list_custom_fields(hub: HubDep, file: TargetDep, answers: AnswersDep) -> Response:
    """Lists the custom fields of a file, template by template."""
    found = await hub.custom_fields(await hub.entry(file))
    return answers.many([wire.field_values(item) for item in found])


@values.route("GET", _PATH, response_model=FieldValuesBody)
async def get_custom_fields(
    hub: HubDep, file: TargetDep, answers: AnswersDep, template: TemplateKey, scope: ScopeQuery = None
) -> Response:
    """Gets the custom fields of one template on a file."""
    for found in await hub.custom_fields(await hub.entry(file)):
        if found.template == template and scope in (None, found.scope):
            return answers.one(wire.field_values(found))
    raise NotFound(f"No custom fields of the template '{template}' found")


@values.route("POST", _PATH, response_model=FieldValuesBody)
@values.route("PATCH", _PATH, response_model=FieldValuesBody)
async def set_custom_fields(
    hub: HubDep,
    file: TargetDep,
    answers: AnswersDep,
    template: TemplateKey,
    body: ValuesBody,
    scope: ScopeQuery = None,
) -> Response:
    """Sets custom fields of a template on a file, and leaves its other ones as they are."""
    found = await hub.set_custom_fields(await hub.entry(file), template, scope, body)
    return answers.one(wire.field_values(found))


@values.route("DELETE", _PATH, response_class=Response)
async def remove_custom_fields(
    hub: Annotated[DocumentsProvider, able(Power.REMOVE_CUSTOM_FIELDS)],
    file: TargetDep,
    template: TemplateKey,
    scope: ScopeQuery = None,
) -> Response:
    """Takes the custom fields of a template off a file."""
    await hub.remove_custom_fields(await hub.entry(file), template, scope)
    return done()
