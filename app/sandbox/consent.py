"""The page on which somebody lets an app in, and the way back to the app."""

from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from app.sandbox.grants import RegisteredApp


class Wish(BaseModel):
    """What an app asks a user for."""

    client_id: str = ""
    redirect_uri: str = ""
    response_type: str = ""
    scope: str = ""
    state: str | None = None


def objection(apps: Mapping[str, RegisteredApp], wish: Wish) -> Response | None:
    """Why the user is not asked. A browser is never sent to an address that the app has not registered."""
    app = apps.get(wish.client_id)
    if app is None:
        return HTMLResponse("<h1>Unknown client_id</h1>", status_code=400)
    if not wish.redirect_uri or not app.allows(wish.redirect_uri):
        return HTMLResponse("<h1>The redirect_uri is not registered</h1>", status_code=400)
    if wish.response_type != "code":
        return send_back(wish, {"error": "unsupported_response_type"})
    return None


def send_back(wish: Wish, answer: dict[str, str]) -> Response:
    """Sends the browser to the app with an answer, and with the state that the app gave."""
    if wish.state is not None:
        answer["state"] = wish.state
    joint = "&" if "?" in wish.redirect_uri else "?"
    return RedirectResponse(f"{wish.redirect_uri}{joint}{urlencode(answer)}", status_code=302)


def page(company: str, wish: Wish, *, field: str, people: Iterable[tuple[str, str]]) -> Response:
    """The page itself; `people` are the values of the field and the names to show."""
    hidden = "".join(
        f'<input type=hidden name="{name}" value="{escape(value)}">'
        for name, value in wish.model_dump(exclude_none=True).items()
    )
    options = "".join(f'<option value="{escape(value)}">{escape(name)}</option>' for value, name in people)
    return HTMLResponse(
        "<!doctype html><meta charset=utf-8><title>Allow access?</title>"
        f"<h1>{escape(company)}</h1><p><b>{escape(wish.client_id)}</b> asks for"
        f" <code>{escape(wish.scope) or 'all scopes'}</code>"
        # Relative, so that it works under any mount and behind any proxy.
        f'<form method=post action="consent">{hidden}<select name={field}>{options}</select>'
        "<button name=decision value=allow>Allow</button>"
        "<button name=decision value=deny>Deny</button></form>"
    )
