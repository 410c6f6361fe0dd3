"""The TCP connection under a request: ASGI hides it, and some faults are about nothing else."""

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

_KEY = "sandbox.connection"


class ConnectedApp(FastAPI):
    """An app whose handlers can hang up on a client.

    Uvicorn hands over a bound method of the object that holds the transport, so only the
    outermost callable can see it; every middleware wraps `send` in something else.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_KEY] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Closes the connection once what was sent so far is out. Without a server it raises instead."""
    transport = scope.get(_KEY)
    if transport is None:
        raise ConnectionResetError("the sandbox hung up")
    transport.close()
    await gone(receive)


async def gone(receive: Receive) -> None:
    """Returns when the client has left; uvicorn complains about an answer that is missing before that."""
    message: Message = {"type": "http.request"}
    while message["type"] != "http.disconnect":
        message = await receive()
