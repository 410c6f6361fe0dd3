"""Files and folders by id and by path: each of their routes exists in both spellings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request

from app import documents
from app.api.bodies import JsonRoute
from app.api.deps import PATIENCE, InstanceDep, RuntimeDep
from app.api.problems import responses
from app.hubs.documents import DocumentsProvider, Power
from app.hubs.entries import Kind, Target
from app.hubs.paths import normalised

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

LONGEST_PATH = 8000  # characters

PathQuery = Annotated[
    str,
    Query(alias="path", max_length=LONGEST_PATH, description="Whole path with the name, beginning with `/`."),
]


class TwinRouter:
    """Registers a handler at `/files/{id}/x` and at `/files/x?path=`, whichever `kind` it is for."""

    def __init__(self, kind: Kind, *, tag: str) -> None:
        by_path, by_id = _dependencies(kind)
        shared: dict[str, Any] = {
            "tags": [tag],
            "responses": responses(400, 401, 403, 404, 405, 429, 502),
            "route_class": JsonRoute,
        }
        self._by_path = APIRouter(prefix=f"/{kind}s", dependencies=[Depends(by_path)], **shared)
        self._by_id = APIRouter(prefix=f"/{kind}s/{{id}}", dependencies=[Depends(by_id)], **shared)
        self._alone = APIRouter(prefix=f"/{kind}s/{{id}}", dependencies=[Depends(by_id)], **shared)

    def route(self, method: str, path: str, **documented: Any) -> Callable[[HandlerT], HandlerT]:
        def register(handler: HandlerT) -> HandlerT:
            for router in (self._by_path, self._by_id if path else self._alone):
                router.add_api_route(path, handler, methods=[method], **documented)
            return handler

        return register

    @property
    def routers(self) -> tuple[APIRouter, ...]:
        """In the order in which they are asked: `/files/links` is no file with the id `links`."""
        return self._by_id, self._by_path, self._alone


def _dependencies(kind: Kind) -> tuple[Callable[..., Awaitable[None]], Callable[..., Awaitable[None]]]:
    async def by_path(request: Request, path: PathQuery) -> None:
        request.state.target = Target(kind, path=normalised(path))

    async def by_id(
        request: Request,
        item_id: Annotated[str, Path(alias="id", max_length=LONGEST_PATH, description="The vendor's id.")],
    ) -> None:
        request.state.target = Target(kind, id=item_id)

    return by_path, by_id


async def _target(request: Request) -> Target | None:
    """None where the path was refused: dependencies are still asked then, the handler is not."""
    target: Target | None = getattr(request.state, "target", None)
    return target


TargetDep = Annotated[Target, Depends(_target)]


class Able:
    """Finds the provider of the request's instance, if it can do this."""

    def __init__(self, power: Power) -> None:
        self.power = power

    async def __call__(
        self, request: Request, runtime: RuntimeDep, instance: InstanceDep
    ) -> DocumentsProvider:
        patience = getattr(request.state, PATIENCE, None)
        return documents.able(runtime, instance, self.power, patience=patience)


def able(power: Power) -> Any:
    """The provider of the request's instance, if it can do this; documents of the routes say it, too."""
    return Depends(Able(power))
