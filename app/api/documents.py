"""The documents hub. The Element token alone selects the account: the hub in the path is not checked,
and can be left out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from app import documents, listing
from app.api import custom_fields, events, files, folders
from app.api.answers import AnswersDep
from app.api.bodies import JsonRoute
from app.api.deps import AnyInstanceDep, InstanceDep, RuntimeDep
from app.api.files import tag_list
from app.api.lists import ListsDep
from app.api.problems import responses
from app.api.targets import LONGEST_PATH, able
from app.errors import BadRequest
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Kind, Search, Target
from app.hubs.paths import normalised
from app.upstream.reading import date
from app.wire import dates
from app.wire import documents as wire
from app.wire.documents import CloudFileBody, CloudStorageBody, PongBody, ProfileBody

account = APIRouter(
    route_class=JsonRoute, tags=["documents"], responses=responses(400, 401, 403, 405, 404, 429, 502)
)


@account.get("/ping")
async def ping(
    runtime: RuntimeDep, instance: InstanceDep, hub: Annotated[DocumentsProvider, able(Power.PING)]
) -> PongBody:
    """Asks the vendor whether the connection works."""
    await hub.ping()
    return PongBody(endpoint=instance.element_key, dateTime=dates.seconds(runtime.clock.now()))


@account.get("/me", response_model=ProfileBody)
async def me(hub: Annotated[DocumentsProvider, able(Power.ME)], answers: AnswersDep) -> Response:
    """Gets the user whose account is connected, in the vendor's words."""
    return answers.one(wire.profile(await hub.me()))


@account.get("/storage", response_model=CloudStorageBody)
async def storage(hub: Annotated[DocumentsProvider, able(Power.STORAGE)], answers: AnswersDep) -> Response:
    """Gets the space that the account has and uses."""
    return answers.one(wire.storage(await hub.storage()))


@account.get("/search", response_model=list[CloudFileBody])
async def search(
    hub: Annotated[DocumentsProvider, able(Power.SEARCH)],
    lists: ListsDep,
    text: Annotated[str, Query(max_length=1000, description="Part of a name, in any case.")] = "",
    path: Annotated[str, Query(max_length=LONGEST_PATH, description="The folder to search in.")] = "/",
    start_date: Annotated[str, Query(alias="startDate", description="Created from; needs endDate.")] = "",
    end_date: Annotated[str, Query(alias="endDate", description="Created until; needs startDate.")] = "",
    tags: Annotated[list[str], Query(alias="tags[]", description="Tags that all have to be there.")] = [],  # noqa: B006
) -> Response:
    """Finds files and folders by a part of their name, at any depth; without parameters, all of them."""
    place = normalised(path or "/")
    wanted = Search(
        text=text.strip(),
        folder=Target(Kind.FOLDER, path=place) if place != "/" else None,
        created=_span(start_date, end_date),
    )
    return lists.answer(
        await listing.search(hub, wanted, lists.wish, tags=documents.tags(hub, tag_list(tags)))
    )


@account.get("/objects", response_model=list[str] | list[dict[str, str]])
async def list_objects(
    runtime: RuntimeDep,
    instance: AnyInstanceDep,
    version: Annotated[str | None, Header(alias="Elements-Version", max_length=40)] = None,
) -> Any:
    """Lists the resources of the hub; with `Elements-Version: Helium` as objects."""
    names = documents.resources(runtime.registry.find(instance.element_key))
    if (version or "").strip().lower() != "helium":
        return names
    return [{"name": name, "vendorName": name, "type": "vendor"} for name in names]


def _span(start: str, end: str) -> tuple[datetime | None, datetime | None]:
    """`startDate` and `endDate`; an end that is a day lasts until its midnight."""
    if not start and not end:
        return None, None
    if not start or not end:
        raise BadRequest("startDate, endDate: each needs the other")
    since, until = date(start), date(end)
    if since is None or until is None:
        raise BadRequest(f"{'startDate' if since is None else 'endDate'}: is not an ISO 8601 date or time")
    until += timedelta(days=1) if len(end) == len("2026-01-05") else timedelta(0)
    if since > until:
        raise BadRequest("startDate: is after endDate")
    return since, until


routers: tuple[APIRouter, ...] = (
    *files.files.routers,
    *folders.folders.routers,
    *custom_fields.values.routers,
    custom_fields.templates,
    files.uploads,
    folders.creation,
    account,
    events.router,
)
"""All of the hub, in the order in which they are asked."""
