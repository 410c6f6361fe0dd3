"""Which instance a platform call is about: the one with the id in the path, or that of the Element token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request

from app.api.bodies import JsonRoute
from app.api.deps import AnyInstanceDep, CallerDep, RuntimeDep
from app.api.problems import responses
from app.ids import LARGEST_ID
from app.provisioning import instances
from app.provisioning.instances import Connected

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

InstanceId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the instance.")]
KeyOrId = Annotated[str, Path(alias="keyOrId", description="Key or id of the element: `egnyte` or `4016`.")]


@dataclass(frozen=True)
class Chosen:
    """An instance as its account knows it; whether it exists is seen when it is asked for."""

    account_id: int
    instance_id: int


async def _by_id(request: Request, caller: CallerDep, instance_id: InstanceId) -> None:
    request.state.chosen = Chosen(caller.account_id, instance_id)


async def _by_token(request: Request, instance: AnyInstanceDep) -> None:
    request.state.chosen = Chosen(instance.account_id, instance.id)


async def _by_element(
    request: Request, runtime: RuntimeDep, caller: CallerDep, key_or_id: KeyOrId, instance_id: InstanceId
) -> None:
    """Raises NotFound for an instance of another element."""
    provider = runtime.registry.find(key_or_id)
    await instances.get(runtime, caller.account_id, instance_id, element_key=provider.key)
    request.state.chosen = Chosen(caller.account_id, instance_id)


async def _chosen(request: Request) -> Chosen | None:
    """None where the id was refused: dependencies are still asked then, the handler is not."""
    chosen: Chosen | None = getattr(request.state, "chosen", None)
    return chosen


ChosenDep = Annotated[Chosen, Depends(_chosen)]


async def _connected(
    runtime: RuntimeDep, chosen: Annotated[Chosen | None, Depends(_chosen)]
) -> Connected | None:
    return await instances.get(runtime, chosen.account_id, chosen.instance_id) if chosen else None


ConnectedDep = Annotated[Connected, Depends(_connected)]
"""The chosen instance with what an answer shows beside it."""


class InstanceRouter:
    """Registers a handler at `/instances/{id}/x` and at `/instances/x`, whose instance is that of the Element
    token; what an instance itself is asked for also at `/elements/{keyOrId}/instances/{id}`."""

    def __init__(self) -> None:
        shared: dict[str, Any] = {
            "tags": ["instances"],
            "responses": responses(400, 401, 404),
            "route_class": JsonRoute,
        }
        self._by_token = APIRouter(prefix="/instances", dependencies=[Depends(_by_token)], **shared)
        self._by_id = APIRouter(prefix="/instances/{id}", dependencies=[Depends(_by_id)], **shared)
        self._by_element = APIRouter(
            prefix="/elements/{keyOrId}/instances/{id}", dependencies=[Depends(_by_element)], **shared
        )

    def route(self, method: str, path: str, **documented: Any) -> Callable[[HandlerT], HandlerT]:
        def register(handler: HandlerT) -> HandlerT:
            for router in self._routers_of(method, path):
                router.add_api_route(path, handler, methods=[method], **documented)
            return handler

        return register

    def _routers_of(self, method: str, path: str) -> list[APIRouter]:
        """`GET /instances` is the list, whatever token is sent with it."""
        if path:
            return [self._by_token, self._by_id]
        return [self._by_id, self._by_element, *([self._by_token] if method != "GET" else [])]

    @property
    def routers(self) -> tuple[APIRouter, ...]:
        """In the order in which they are asked: `/instances/enabled` is no instance with that id."""
        return self._by_token, self._by_id, self._by_element
