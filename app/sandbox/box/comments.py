"""Comments on files: https://developer.box.com/reference/resources/comment/."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from app.sandbox.box.access import Body, Caller, CallerDep, path_id, read
from app.sandbox.box.domain import Enterprise
from app.sandbox.box.errors import forbidden, not_found
from app.sandbox.box.items import Comment, File
from app.sandbox.box.shapes import Shape, listing, mini, user_mini
from app.sandbox.box.times import timestamp
from app.sandbox.history import Actor

router = APIRouter(prefix="/2.0")


class Target(Body):
    """What a comment is about: a file, or another comment."""

    id: str
    type: Literal["file", "comment"] = "file"


class NewComment(Body):
    """A comment to make; the tagged message may mention people."""

    item: Target
    message: str = ""
    tagged_message: str = ""


class Correction(Body):
    """Another text for a comment."""

    message: str


@router.post("/comments", response_model=None)
async def create(caller: CallerDep, request: Request) -> Response:
    """Puts a comment on a file, or answers another comment."""
    wish, enterprise = await read(request, NewComment), caller.enterprise
    reply_to = find_comment(enterprise, wish.item.id) if wish.item.type == "comment" else None
    file = reply_to.file if reply_to is not None else enterprise.tree.file(wish.item.id)
    text = wish.message or wish.tagged_message
    comment = add_comment(enterprise, file, text, caller.actor, reply_to)
    return JSONResponse(shape(comment), status_code=201)


@router.get("/files/{file_id}/comments")
async def comments(
    caller: CallerDep,
    file_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """The comments on a file."""
    found = caller.enterprise.tree.file(path_id(file_id)).comments
    page = [shape(comment) for comment in found[offset : offset + limit]]
    return listing(page, len(found), offset, limit)


@router.get("/comments/{comment_id}")
async def comment(caller: CallerDep, comment_id: str) -> dict[str, Any]:
    """One comment."""
    return shape(find_comment(caller.enterprise, comment_id))


@router.put("/comments/{comment_id}")
async def correct(caller: CallerDep, comment_id: str, request: Request) -> dict[str, Any]:
    """Changes the text of an own comment."""
    found = _own(caller, comment_id)
    found.message = (await read(request, Correction)).message
    found.modified = datetime.now(UTC)
    caller.enterprise.journal.record_for_admins("COMMENT_EDIT", caller.actor, found.file)
    return shape(found)


@router.delete("/comments/{comment_id}", response_model=None)
async def delete(caller: CallerDep, comment_id: str) -> Response:
    """Takes an own comment away."""
    remove_comment(caller.enterprise, _own(caller, comment_id), caller.actor)
    return Response(status_code=204)


def add_comment(
    enterprise: Enterprise, file: File, message: str, actor: Actor, reply_to: Comment | None = None
) -> Comment:
    """Puts a comment on a file."""
    now = datetime.now(UTC)
    made = Comment(
        id=enterprise.tree.new_id(), file=file, reply_to=reply_to, message=message, by=actor.user,
        created=now, modified=now,
    )  # fmt: skip
    enterprise.comments[made.id] = made
    file.comments.append(made)
    enterprise.journal.record("COMMENT_CREATE", actor, file, source=shape(made))
    return made


def remove_comment(enterprise: Enterprise, comment: Comment, actor: Actor) -> None:
    """Takes a comment away."""
    del enterprise.comments[comment.id]
    comment.file.comments.remove(comment)
    enterprise.journal.record("COMMENT_DELETE", actor, comment.file, source=shape(comment))


def find_comment(enterprise: Enterprise, comment_id: str) -> Comment:
    """The comment with that id, unless its file is in the trash."""
    if comment_id not in enterprise.comments:
        raise not_found("comment", comment_id)
    found = enterprise.comments[comment_id]
    enterprise.tree.file(found.file.id)
    return found


def shape(comment: Comment) -> Shape:
    """A comment as its routes and its events show it."""
    about: Shape = mini(comment.file)
    if comment.reply_to is not None:
        about = {"type": "comment", "id": comment.reply_to.id}
    return {
        "type": "comment",
        "id": comment.id,
        "is_reply_comment": comment.reply_to is not None,
        "message": comment.message,
        "created_by": user_mini(comment.by),
        "created_at": timestamp(comment.created),
        "modified_at": timestamp(comment.modified),
        "item": about,
    }


def _own(caller: Caller, comment_id: str) -> Comment:
    found = find_comment(caller.enterprise, comment_id)
    if found.by.id != caller.user.id and not caller.user.is_admin:
        raise forbidden()
    return found
