"""/files: upload, download, metadata, copies, links, revisions, comments and locks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import documents, links
from app.api import multipart
from app.api.answers import AnswersDep, RangeDep, done, passed_on
from app.api.bodies import JsonRoute
from app.api.deps import InstanceDep, PublicUrlDep, RuntimeDep
from app.api.paging import PAGE_SIZE, NextPageQuery, PageQuery, PageSizeQuery
from app.api.problems import responses
from app.api.targets import LONGEST_PATH, TargetDep, TwinRouter, able
from app.documents import Update
from app.errors import BadRequest
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Kind, Lock, Slice, Target, Upload, offset_of
from app.hubs.paths import normalised, split
from app.ids import LARGEST_ID
from app.wire import documents as wire
from app.wire.documents import CloudFileBody, CloudLinkBody, CommentBody, RevisionBody

uploads = APIRouter(
    route_class=JsonRoute, tags=["files"], responses=responses(400, 401, 403, 404, 405, 409, 415, 429, 502)
)
files = TwinRouter(Kind.FILE, tag="files")

_CHANGED = responses(409)
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_BYTES = {200: {"content": {"application/octet-stream": {}}, "description": "The bytes."}}

RevisionId = Annotated[str, Path(alias="revisionId", max_length=1000, description="The version's id.")]
CommentId = Annotated[str, Path(alias="commentId", max_length=1000, description="The comment's id.")]


class PathBody(BaseModel):
    """Where a copy goes: the whole path with the name."""

    model_config = ConfigDict(json_schema_extra={"example": {"path": "/Shared/copies/report.pdf"}})

    path: str = Field(max_length=LONGEST_PATH)


class UpdateBody(BaseModel):
    """What changes; a whole CloudFile may be sent back. A new `path` moves or renames."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"example": {"path": "/Shared/new name.pdf"}})

    path: str | None = Field(None, max_length=LONGEST_PATH)
    name: str | None = Field(None, max_length=1000)
    tags: list[str] | None = None
    description: str | None = None

    def wish(self) -> Update:
        return Update(**self.model_dump())


class PropertiesBody(BaseModel):
    """Free properties; those that are not named stay as they are."""

    model_config = ConfigDict(json_schema_extra={"example": {"properties": {"customer": "ACME"}}})

    properties: dict[str, str | int | float | bool] = Field(min_length=1)


class CommentOrder(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": {"comment": "Looks good"}})

    comment: str = Field(min_length=1, max_length=10_000)


class LockOrder(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": {"expires_at": "2027-01-01T00:00:00Z"}})

    is_download_prevented: bool = False
    expires_at: datetime | None = None


def tag_list(values: list[str]) -> list[str]:
    """`tags[]` repeated, separated by commas, or both."""
    return [tag.strip() for value in values for tag in value.split(",") if tag.strip()]


@uploads.post("/files", response_model=CloudFileBody, openapi_extra=_UPLOAD_BODY)
async def upload_file(
    request: Request,
    runtime: RuntimeDep,
    hub: Annotated[DocumentsProvider, able(Power.UPLOAD)],
    answers: AnswersDep,
    path: Annotated[
        str, Query(max_length=LONGEST_PATH, description="Whole path with the name. Missing folders are made.")
    ] = "",
    folder_id: Annotated[
        str, Query(alias="folderId", max_length=LONGEST_PATH, description="A folder instead of a path.")
    ] = "",
    size: Annotated[
        int | None, Query(ge=0, description="Bytes of the file, where its form does not tell.")
    ] = None,
    overwrite: Annotated[bool, Query(description="Make a version of an existing file.")] = False,
    tags: Annotated[list[str], Query(alias="tags[]", description="Separated by commas, or repeated.")] = [],  # noqa: B006
    description: str = "",
) -> Response:
    """Uploads a file in the part `file`. It flows through, whatever its size."""
    form = await multipart.open_file(request, size=size, limit=runtime.settings.upload_limit)
    parent, name = _place(path, folder_id, form.file_name)
    order = Upload(parent, name, form.content, overwrite=overwrite)
    entry = await documents.upload(hub, order, tags=tag_list(tags), description=description)
    return answers.one(wire.entry(entry, raw=answers.raw))


@files.route("GET", "", response_class=Response, responses={**_BYTES, **responses(416), 206: _BYTES[200]})
async def download_file(
    hub: Annotated[DocumentsProvider, able(Power.DOWNLOAD)],
    file: TargetDep,
    byte_range: RangeDep,
) -> Response:
    """Downloads a file, or the part of it that a Range header asks for."""
    return await passed_on(await hub.download(file, byte_range=byte_range))


@files.route("DELETE", "", response_class=Response)
async def delete_file(
    hub: Annotated[DocumentsProvider, able(Power.DELETE)],
    file: TargetDep,
    empty_trash: Annotated[bool, Query(alias="emptyTrash", description="Leave nothing to restore.")] = False,
) -> Response:
    """Deletes a file."""
    await documents.delete(hub, file, empty_trash=empty_trash)
    return done()


@files.route("POST", "/copy", response_model=CloudFileBody, responses=_CHANGED)
async def copy_file(
    hub: Annotated[DocumentsProvider, able(Power.COPY)],
    file: TargetDep,
    answers: AnswersDep,
    body: PathBody,
    overwrite: Annotated[bool, Query(description="Make a version of an existing file.")] = False,
) -> Response:
    """Copies a file."""
    entry = await documents.copy(hub, file, normalised(body.path), overwrite=overwrite)
    return answers.one(wire.entry(entry, raw=answers.raw))


@files.route("GET", "/metadata", response_model=CloudFileBody)
async def get_file_metadata(
    hub: Annotated[DocumentsProvider, able(Power.METADATA)], file: TargetDep, answers: AnswersDep
) -> Response:
    """Gets what is known of a file."""
    return answers.one(wire.entry(await hub.entry(file), raw=answers.raw))


@files.route("PATCH", "/metadata", response_model=CloudFileBody, responses=_CHANGED)
async def update_file(
    hub: Annotated[DocumentsProvider, able(Power.METADATA)],
    file: TargetDep,
    answers: AnswersDep,
    body: UpdateBody,
) -> Response:
    """Moves, renames, tags or describes a file."""
    return answers.one(wire.entry(await documents.update(hub, file, body.wish()), raw=answers.raw))


@files.route("PATCH", "/metadata/properties", response_model=CloudFileBody)
async def set_file_properties(
    hub: Annotated[DocumentsProvider, able(Power.PROPERTIES)],
    file: TargetDep,
    answers: AnswersDep,
    body: PropertiesBody,
) -> Response:
    """Sets free properties of a file."""
    entry = await hub.entry(file)
    values = await hub.set_properties(entry, body.properties)
    found = wire.entry(entry, raw=answers.raw)
    return answers.one(found | {"properties": {**found["properties"], **values}})


@files.route("GET", "/links", response_model=CloudLinkBody)
async def get_file_links(
    runtime: RuntimeDep,
    instance: InstanceDep,
    public_url: PublicUrlDep,
    hub: Annotated[DocumentsProvider, able(Power.DOWNLOAD)],
    file: TargetDep,
    answers: AnswersDep,
    expires: Annotated[str, Query(description="When the links end, as an ISO 8601 date or time.")] = "",
) -> Response:
    """Makes links to a file that work without credentials, or answers those that there are."""
    shared = await links.share(runtime, instance, hub, file, links.expiry(expires, runtime.clock.now()))
    url = links.url(public_url, shared.token)
    body = wire.link(shared.vendor, gateway_url=url, expires_at=shared.expires_at, raw=answers.raw)
    return answers.one(body)


@files.route("DELETE", "/links", response_class=Response)
async def delete_file_links(
    runtime: RuntimeDep,
    instance: InstanceDep,
    hub: Annotated[DocumentsProvider, able(Power.DOWNLOAD)],
    file: TargetDep,
) -> Response:
    """Ends the links to a file."""
    await links.revoke(runtime, instance, hub, file)
    return done()


@files.route("GET", "/revisions", response_model=list[RevisionBody])
async def list_revisions(
    hub: Annotated[DocumentsProvider, able(Power.REVISIONS)], file: TargetDep, answers: AnswersDep
) -> Response:
    """Lists the versions of a file, the newest first."""
    return answers.many([wire.revision(found, raw=answers.raw) for found in await hub.revisions(file)])


@files.route("GET", "/revisions/{revisionId}", response_model=RevisionBody)
async def get_revision(
    hub: Annotated[DocumentsProvider, able(Power.REVISIONS)],
    file: TargetDep,
    answers: AnswersDep,
    revision_id: RevisionId,
) -> Response:
    """Gets one version of a file."""
    found = await documents.revision(hub, file, revision_id)
    return answers.one(wire.revision(found, raw=answers.raw))


@files.route("GET", "/revisions/{revisionId}/content", response_class=Response, responses=_BYTES)
async def download_revision(
    hub: Annotated[DocumentsProvider, able(Power.REVISIONS)],
    file: TargetDep,
    revision_id: RevisionId,
    byte_range: RangeDep,
) -> Response:
    """Downloads one version of a file."""
    return await passed_on(await hub.download(file, byte_range=byte_range, revision_id=revision_id))


@files.route("POST", "/revisions/{revisionId}/restore", response_model=CloudFileBody)
async def restore_revision(
    hub: Annotated[DocumentsProvider, able(Power.RESTORE)],
    file: TargetDep,
    answers: AnswersDep,
    revision_id: RevisionId,
) -> Response:
    """Makes an older version of a file the newest one."""
    return answers.one(wire.entry(await hub.restore(file, revision_id), raw=answers.raw))


@files.route("GET", "/comments", response_model=list[CommentBody])
async def list_comments(
    hub: Annotated[DocumentsProvider, able(Power.COMMENTS)],
    file: TargetDep,
    answers: AnswersDep,
    page: PageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
) -> Response:
    """Lists the comments on a file; a page beyond the end is empty."""
    offset = offset_of(next_page) if next_page else min((page - 1) * page_size, LARGEST_ID)
    found = await hub.comments(file, Slice(offset, min(page_size, _COMMENTS_LIMIT)))
    headers = {"Elements-Next-Page-Token": str(offset + len(found.comments))} if found.more else None
    return answers.many([wire.comment(item, raw=answers.raw) for item in found.comments], headers)


@files.route("POST", "/comments", response_model=CommentBody)
async def add_comment(
    hub: Annotated[DocumentsProvider, able(Power.COMMENTS)],
    file: TargetDep,
    answers: AnswersDep,
    body: CommentOrder,
) -> Response:
    """Comments on a file."""
    return answers.one(wire.comment(await hub.add_comment(file, body.comment), raw=answers.raw))


@files.route("GET", "/comments/{commentId}", response_model=CommentBody)
async def get_comment(
    hub: Annotated[DocumentsProvider, able(Power.COMMENTS)],
    file: TargetDep,
    answers: AnswersDep,
    comment_id: CommentId,
) -> Response:
    """Gets a comment."""
    return answers.one(wire.comment(await hub.comment(file, comment_id), raw=answers.raw))


@files.route("PATCH", "/comments/{commentId}", response_model=CommentBody)
async def edit_comment(
    hub: Annotated[DocumentsProvider, able(Power.EDIT_COMMENTS)],
    file: TargetDep,
    answers: AnswersDep,
    comment_id: CommentId,
    body: CommentOrder,
) -> Response:
    """Changes a comment."""
    return answers.one(wire.comment(await hub.edit_comment(file, comment_id, body.comment), raw=answers.raw))


@files.route("DELETE", "/comments/{commentId}", response_class=Response)
async def delete_comment(
    hub: Annotated[DocumentsProvider, able(Power.COMMENTS)], file: TargetDep, comment_id: CommentId
) -> Response:
    """Deletes a comment."""
    await hub.delete_comment(file, comment_id)
    return done()


@files.route("PUT", "/lock", response_class=Response)
async def lock_file(
    runtime: RuntimeDep,
    hub: Annotated[DocumentsProvider, able(Power.LOCK)],
    file: TargetDep,
    body: LockOrder | None = None,
) -> Response:
    """Keeps others from changing a file."""
    order = body or LockOrder()
    until = _aware(order.expires_at)
    if until is not None and until <= runtime.clock.now():
        raise BadRequest("expires_at: must be a time to come")
    await hub.lock(file, Lock(until, order.is_download_prevented))
    return done()


@files.route("DELETE", "/lock", response_class=Response)
async def unlock_file(hub: Annotated[DocumentsProvider, able(Power.LOCK)], file: TargetDep) -> Response:
    """Ends a lock."""
    await hub.unlock(file)
    return done()


_COMMENTS_LIMIT = 1000


def _place(path: str, folder_id: str, file_name: str | None) -> tuple[Target, str]:
    """The folder of an upload, and the name in it."""
    if path:
        parent, name = split(normalised(path))
        if not name:
            raise BadRequest("path: must end in the name of the file")
        return Target(Kind.FOLDER, path=parent), name
    if not folder_id:
        raise BadRequest("path: is required")
    name = split(normalised("/" + (file_name or ""), name="file"))[1]
    if not name:
        raise BadRequest("file: needs a file name where no path is given")
    return Target(Kind.FOLDER, id=folder_id), name


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
