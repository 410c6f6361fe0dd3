"""`Elements-Async-Request`: requests whose answer goes to a callback instead of to their client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Header, Request, Response

from app import async_requests
from app.api.deps import INSIDE, InstanceDep, RuntimeDep
from app.async_requests import Wish
from app.configuration import LONGEST_URL
from app.runtime import Runtime
from app.store.tables import Instance
from app.wire.async_requests import DispatchedBody

_BEFORE_RESOURCE = re.compile(r"^(?:/elements/api-v2)?(?:/hubs/[^/]+)?(?=/folders)")


@dataclass(frozen=True)
class Later:
    """A request that its client does not wait for."""

    runtime: Runtime
    instance: Instance
    method: str
    target: str
    url: str | None

    async def dispatch(self, body: bytes | None = None) -> Response:
        """Stores the request with its body. Raises BadRequest where nobody can be told of its end."""
        wish = Wish(self.method, self.target, body)
        event_id = await async_requests.dispatch(self.runtime, self.instance, wish, url=self.url)
        text = DispatchedBody(eventId=event_id).model_dump_json()
        return Response(text, media_type="application/json")


async def _later(
    request: Request,
    runtime: RuntimeDep,
    instance: InstanceDep,
    wanted: Annotated[
        str,
        Header(
            alias="Elements-Async-Request",
            max_length=20,
            description="`True`: answer `{eventId, eventStatus: dispatched}` at once, and POST "
            "`{eventId, instanceId, notificationId, response: {status, body}}` to the callback when it has "
            "been done, at least once. It is run again after a crash: a delete that finds nothing then is "
            "done, and so is a copy that finds a destination which was made since.",
        ),
    ] = "",
    url: Annotated[
        str | None,
        Header(
            alias="Elements-Async-Callback-Url",
            max_length=LONGEST_URL,
            description="Where the answer of an async request goes; without it, the instance's callback.",
        ),
    ] = None,
) -> Later | None:
    if wanted.strip().lower() != "true" or hasattr(request.state, INSIDE):
        return None
    path = _BEFORE_RESOURCE.sub("", request.scope["path"])
    query = request.scope["query_string"].decode("latin-1")
    return Later(runtime, instance, request.method, f"{quote(path, safe='/')}?{query}", url)


LaterDep = Annotated[Later | None, Depends(_later)]
"""What dispatches the request; None for a client that waits for the answer."""
