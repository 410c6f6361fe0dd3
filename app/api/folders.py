"""/folders: creation, contents, metadata, copies, links and collaborations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app import documents, listing
from app.api.answers import AnswersDep, done
from app.api.bodies import JsonRoute
from app.api.files import PathBody, UpdateBody
from app.api.later import LaterDep
from app.api.lists import ListsDep
from app.api.problems import responses
from app.api.targets import LONGEST_PATH, TargetDep, TwinRouter, able
from app.errors import BadRequest
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Kind
from app.hubs.paths import normalised
from app.wire import documents as wire
from app.wire.async_requests import DispatchedBody
from app.wire.documents import CloudFileBody, CloudLinkBody, CollaborationBody

creation = APIRouter(
    route_class=JsonRoute, tags=["folders"], responses=responses(400, 401, 403, 404, 405, 409, 429, 502)
)
folders = TwinRouter(Kind.FOLDER, tag="folders")

_CHANGED = responses(409)
_DISPATCHED: dict[int | str, dict[str, Any]] = {
    200: {"model": DispatchedBody, "description": "Without a body, unless it will be done later."}
}


class FolderOrder(BaseModel):
    """A folder to be made: its whole path, or a name for one in the root."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"example": {"path": "/Shared/a/b"}})

    path: str | None = Field(None, max_length=LONGEST_PATH)
    name: str | None = Field(None, max_length=1000)
    tags: list[str] = []
    description: str | None = None


@creation.post("/folders", response_model=CloudFileBody)
async def create_folder(
    hub: Annotated[DocumentsProvider, able(Power.CREATE_FOLDER)],
    answers: AnswersDep,
    body: FolderOrder,
    path: Annotated[str, Query(max_length=LONGEST_PATH, description="Instead of the path in the body.")] = "",
) -> Response:
    """Makes a folder, and those above it that are missing."""
    place = normalised(body.path or path or "/" + (body.name or ""))
    if place == "/":
        raise BadRequest("path: must end in the name of the folder")
    entry = await documents.create_folder(hub, place, tags=body.tags, description=body.description)
    return answers.one(wire.entry(entry, raw=answers.raw))


@folders.route("DELETE", "", response_class=Response, responses=_DISPATCHED)
async def delete_folder(
    hub: Annotated[DocumentsProvider, able(Power.DELETE)],
    folder: TargetDep,
    later: LaterDep,
    empty_trash: Annotated[bool, Query(alias="emptyTrash", description="Leave nothing to restore.")] = False,
) -> Response:
    """Deletes a folder with everything in it; with `Elements-Async-Request`, later."""
    if later is not None:
        return await later.dispatch()
    await documents.delete(hub, folder, empty_trash=empty_trash)
    return done()


@folders.route("GET", "/contents", response_model=list[CloudFileBody])
async def list_contents(
    hub: Annotated[DocumentsProvider, able(Power.CONTENTS)], folder: TargetDep, lists: ListsDep
) -> Response:
    """Lists the files and folders in a folder."""
    return lists.answer(await listing.contents(hub, folder, lists.wish))


@folders.route("POST", "/copy", response_model=CloudFileBody | DispatchedBody, responses=_CHANGED)
async def copy_folder(
    hub: Annotated[DocumentsProvider, able(Power.COPY)],
    folder: TargetDep,
    answers: AnswersDep,
    body: PathBody,
    later: LaterDep,
) -> Response:
    """Copies a folder with everything in it; with `Elements-Async-Request`, later."""
    path = normalised(body.path)
    if later is not None:
        return await later.dispatch(body.model_dump_json().encode())
    entry = await documents.copy(hub, folder, path, overwrite=False)
    return answers.one(wire.entry(entry, raw=answers.raw))


@folders.route("GET", "/metadata", response_model=CloudFileBody)
async def get_folder_metadata(
    hub: Annotated[DocumentsProvider, able(Power.METADATA)], folder: TargetDep, answers: AnswersDep
) -> Response:
    """Gets what is known of a folder; `/` is the root."""
    return answers.one(wire.entry(await hub.entry(folder), raw=answers.raw))


@folders.route("PATCH", "/metadata", response_model=CloudFileBody, responses=_CHANGED)
async def update_folder(
    hub: Annotated[DocumentsProvider, able(Power.METADATA)],
    folder: TargetDep,
    answers: AnswersDep,
    body: UpdateBody,
) -> Response:
    """Moves, renames, tags or describes a folder."""
    return answers.one(wire.entry(await documents.update(hub, folder, body.wish()), raw=answers.raw))


@folders.route("GET", "/links", response_model=CloudLinkBody)
async def get_folder_links(
    hub: Annotated[DocumentsProvider, able(Power.LINKS)], folder: TargetDep, answers: AnswersDep
) -> Response:
    """Makes the vendor's links to a folder, or answers those that there are."""
    found = await hub.link(await hub.entry(folder), None)
    return answers.one(wire.link(found, gateway_url=None, expires_at=None, raw=answers.raw))


@folders.route("DELETE", "/links", response_class=Response)
async def delete_folder_links(
    hub: Annotated[DocumentsProvider, able(Power.LINKS)], folder: TargetDep
) -> Response:
    """Ends the vendor's links to a folder."""
    await hub.unlink(await hub.entry(folder))
    return done()


@folders.route("GET", "/collaborations", response_model=list[CollaborationBody])
async def list_collaborations(
    hub: Annotated[DocumentsProvider, able(Power.COLLABORATIONS)], folder: TargetDep, answers: AnswersDep
) -> Response:
    """Lists who may do what in a folder."""
    found = await hub.collaborations(folder)
    return answers.many([wire.collaboration(item, raw=answers.raw) for item in found])
