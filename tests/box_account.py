"""What the tests say to the fake Box."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from acme import REDIRECT_URI

APP = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
ROOT = "0"

Json = dict[str, Any]


@dataclass(frozen=True)
class Box:
    """The enterprise: its public side with a token of Ann, its administrator, and its control routes."""

    url: str
    http: httpx.Client
    steering: httpx.Client

    def control(self, path: str, /, **order: Any) -> Any:
        return self._steer("POST", path, order)

    def configure(self, **settings: Any) -> Any:
        return self._steer("PATCH", "settings", settings)

    def change(self, action: str, path: str = "", **order: Any) -> Any:
        return self.control("changes", action=action, path=path, **order)

    def fault(self, kind: str, **order: Any) -> None:
        self.control("faults", kind=kind, **order)

    def token(self, username: str = "ann") -> Json:
        token: Json = self.control("tokens", username=username)
        return token

    def state(self) -> Json:
        state: Json = self.steering.get("/control/box/state").json()
        return state

    def held(self, path: str) -> int:
        """How many requests of this path, or below it, wait for their answer."""
        rows = self.steering.get("/control/requests").json()["open"]
        return len([row for row in rows if row["path"].startswith(f"/box{path}")])

    def as_user(self, username: str) -> dict[str, str]:
        """The header of a token of somebody else."""
        return {"Authorization": f"Bearer {self.token(username)['access_token']}"}

    def code(self, user: str = "ann", **changes: str) -> str:
        """What somebody who agrees brings back from the consent page."""
        form = {"redirect_uri": REDIRECT_URI, "client_id": APP["client_id"], "state": "s", "user": user}
        form |= {"decision": "allow", **changes}
        answer = self.http.post("/api/oauth2/consent", data=form)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def get(self, path: str, **params: Any) -> Json:
        found: Json = done(self.http.get(f"/2.0{path}", params=params))
        return found

    def post(self, path: str, body: Any, **params: Any) -> Json:
        made: Json = done(self.http.post(f"/2.0{path}", json=body, params=params))
        return made

    def put(self, path: str, body: Any, **params: Any) -> Json:
        changed: Json = done(self.http.put(f"/2.0{path}", json=body, params=params))
        return changed

    def folder(self, name: str, parent: str = ROOT) -> Json:
        return self.post("/folders", {"name": name, "parent": {"id": parent}})

    def upload(self, name: str, content: bytes = b"content", parent: str = ROOT, **more: Any) -> Json:
        entry: Json = done(self.send(name, content, parent, **more))["entries"][0]
        return entry

    def send(self, name: str, content: bytes = b"content", parent: str = ROOT, **more: Any) -> httpx.Response:
        attributes = {"name": name, "parent": {"id": parent}, **more}
        return self.http.post("/upload/2.0/files/content", files=form(attributes, content))

    def add_version(self, file_id: str, content: bytes, **attributes: Any) -> httpx.Response:
        files = form(attributes, content)
        return self.http.post(f"/upload/2.0/files/{file_id}/content", files=files)

    def read(self, file_id: str, **params: str) -> bytes:
        answer = self.http.get(f"/2.0/files/{file_id}/content", params=params, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.content

    def events(self, position: str = "0", **params: Any) -> list[Json]:
        entries: list[Json] = self.get("/events", stream_position=position, **params)["entries"]
        return entries

    def happened(self, position: str = "0", **params: Any) -> list[str]:
        """The types of the events."""
        return [event["event_type"] for event in self.events(position, **params)]

    def now(self) -> str:
        """The position behind everything that has happened."""
        return str(self.get("/events", stream_position="now")["next_stream_position"])

    def _steer(self, method: str, path: str, order: Json) -> Any:
        answer = self.steering.request(method, f"/control/box/{path}", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()


def form(attributes: Json, content: bytes) -> dict[str, Any]:
    """The parts of an upload, in the order that Box wants."""
    encoded = httpx.Request("POST", "http://x", json=attributes).content
    return {"attributes": (None, encoded), "file": ("", content)}


def done(answer: httpx.Response) -> Json:
    """The body of a call that has to work."""
    assert answer.is_success, answer.text
    body: Json = answer.json()
    return body


def refused(answer: httpx.Response, status: int, code: str) -> Json:
    """The body of a refusal, which has to be in Box's form."""
    body: Json = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert (body["type"], body["status"]) == ("error", status)
    assert body["message"]
    assert body["request_id"]
    assert body["help_url"]
    return body


@contextmanager
def opened(steering: httpx.Client, sandbox_url: str) -> Iterator[Box]:
    """The enterprise as it begins."""
    url = f"{sandbox_url}/box"
    with httpx.Client(base_url=url) as http:
        box = Box(url, http, steering)
        http.headers.update(box.as_user("ann"))
        yield box
