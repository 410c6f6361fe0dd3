"""/events/{elementKeyOrId}: where the vendors call when something has changed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.answers import done
from app.api.bodies import bounded
from app.api.chosen import KeyOrId
from app.api.deps import RuntimeDep, client_of
from app.api.problems import responses
from app.hubs.documents import Call
from app.ingest import vendor_events

router = APIRouter(prefix="/events", tags=["events"], responses=responses(400, 401, 404, 408, 413, 429))

_BODY: dict[str, Any] = {
    "parameters": [
        {
            "in": "query",
            "name": "instance",
            "schema": {"type": "string"},
            "description": "Id of the instance; it is in the URL that the vendor was given.",
        },
        {
            "in": "header",
            "name": "Element-Instances",
            "schema": {"type": "string"},
            "description": "Ids of instances, separated by commas, where the URL names none.",
        },
    ],
    "requestBody": {
        "content": {
            "*/*": {
                "schema": {"description": "What the vendor sends."},
                "example": {"type": "webhook_event", "trigger": "FILE.UPLOADED"},
            }
        }
    },
}


@router.post("/{keyOrId}", response_class=Response, openapi_extra=_BODY)
@router.post("/{keyOrId}/", response_class=Response, include_in_schema=False)
async def receive_vendor_events(runtime: RuntimeDep, key_or_id: KeyOrId, request: Request) -> Response:
    """Takes in what a vendor says of an instance's account. No authorization is needed: the vendor's own
    signature or secret is checked, and a call without a right one changes nothing.

    It is answered when its changes are stored. A call of the vendor's oldest form, which proves nothing, only
    has the account polled.
    """
    return await _receive(runtime, key_or_id, request)


@router.get("/{keyOrId}", response_class=Response, openapi_extra={"parameters": _BODY["parameters"]})
@router.get("/{keyOrId}/", response_class=Response, include_in_schema=False)
async def receive_vendor_events_by_get(runtime: RuntimeDep, key_or_id: KeyOrId, request: Request) -> Response:
    """The same for vendors that call with GET."""
    return await _receive(runtime, key_or_id, request)


async def _receive(runtime: RuntimeDep, key_or_id: str, request: Request) -> Response:
    provider = runtime.registry.find(key_or_id)
    call = Call(
        method=request.method,
        headers=dict(request.headers),
        query=dict(request.query_params),
        body=await bounded(request),
        received_at=runtime.clock.now(),
    )
    named = call.query.get("instance") or call.headers.get(vendor_events.HEADER)
    with runtime.rates.attempt(client_of(request), "events", key_or_id, named, alone=True):
        await vendor_events.receive(runtime, provider, call)
    return done()
