"""Things that go wrong on purpose, one request at a time."""

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.sandbox.connection import hang_up

Answers = Mapping[str, Callable[["Fault"], Response]]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class Fault(BaseModel):
    """What goes wrong, how often, and where."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    kind: str = Field(description="See `GET …/faults` for the kinds that this vendor knows.")
    times: int | None = Field(
        1, ge=1, description="Requests it breaks; null breaks them until it is cleared."
    )
    after: int = Field(0, ge=0, description="Matching requests that pass before the first one breaks.")
    seconds: float = Field(0, ge=0, description="Time to wait first, for every kind.")
    retry_after: float | None = Field(None, ge=0, description="Retry-After of a refusal, in seconds.")
    path: Annotated[str, AfterValidator(_compiles)] = Field(
        "", description="Regular expression that the path has to begin with."
    )

    def hits(self, path: str) -> bool:
        """Whether this request is one to break; counts it either way."""
        if not re.match(self.path, path):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The faults that are waiting, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def take(self, path: str, kinds: Collection[str]) -> Fault | None:
        """The first fault of these kinds that breaks this request; worn-out faults disappear."""
        taken = next((fault for fault in self.waiting if fault.kind in kinds and fault.hits(path)), None)
        self.waiting = [fault for fault in self.waiting if fault.times != 0]
        return taken


def refusal(status: int, fault: Fault, body: Response) -> Response:
    """Gives an answer the status and the Retry-After of a fault."""
    body.status_code = status
    if fault.retry_after is not None:
        body.headers["Retry-After"] = f"{fault.retry_after:g}"
    return body


def _login_page(fault: Fault) -> Response:
    return HTMLResponse("<html><body><h1>Sign in to continue</h1></body></html>")


def _bad_json(fault: Fault) -> Response:
    return PlainTextResponse('{"count":1,"events":[{"id":', media_type="application/json")


_ANYWHERE: Answers = {"html": _login_page, "bad_json": _bad_json}
_ON_THE_WIRE = frozenset({"slow", "cut", "cut_midway"})


def kinds_of(answers: Answers) -> frozenset[str]:
    """The kinds that `play` can play for a vendor with these answers."""
    return _ON_THE_WIRE | _ANYWHERE.keys() | answers.keys()


async def play(
    fault: Fault, answers: Answers, app: ASGIApp, *, scope: Scope, receive: Receive, send: Send
) -> None:
    """Breaks one request; `slow` only waits and then lets it pass."""
    await asyncio.sleep(fault.seconds)
    match fault.kind:
        case "slow":
            await app(scope, receive, send)
        case "cut":
            await hang_up(scope, receive)
        case "cut_midway":
            await _cut_midway(app, scope, receive, send)
        case kind:
            answer = {**_ANYWHERE, **answers}[kind](fault)
            await answer(scope, receive, send)


async def _cut_midway(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The real answer is made, so the change is done; half of it goes out."""
    head: Message = {}
    body = bytearray()

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, keep)
    if body:
        await send(head)
        await send({"type": "http.response.body", "body": bytes(body[: len(body) // 2]), "more_body": True})
    await hang_up(scope, receive)
