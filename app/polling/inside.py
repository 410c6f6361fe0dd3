"""What the gateway asks of itself: the surface of one instance, served in this process, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import orjson

from app.errors import BadRequest, GatewayError, VendorUnavailable
from app.store.tables import Instance


@dataclass(frozen=True)
class Answer:
    """What the surface has answered. `error` is what it would have told a client, as it was raised;
    `next_page` is the token of the page that follows."""

    status: int
    body: bytes
    next_page: str | None = None
    error: GatewayError | None = None

    def json(self) -> Any:
        """The body; None where there is none. Raises VendorUnavailable for what is not JSON."""
        if not self.body:
            return None
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise VendorUnavailable("The resource answered something other than JSON") from None

    def refusal(self) -> GatewayError:
        """The error that this answer of 400 or above stands for."""
        found = self.json() if self.error is None else None
        words = found.get("message") if isinstance(found, dict) else None
        return self.error or BadRequest(f"The resource answered {self.status}: {words or 'no reason'}")


class Inside(Protocol):
    """Calls the hub of an instance as the instance itself."""

    async def call(
        self,
        instance: Instance,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        patience: timedelta | None = None,
    ) -> Answer:
        """The answer to a request; `target` is a path below the hub with its query. A call to the vendor may
        take as long as `patience`, if that is not the usual time. Raises VendorUnavailable for an answer that
        is too large to be kept."""
