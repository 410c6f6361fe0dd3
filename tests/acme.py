"""What the tests say to the sandbox."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

REDIRECT_URI = "http://127.0.0.1:9200/oauth/callback"


def consent(url: str) -> str:
    """The code that the owner of an account at this Egnyte URL brings back from the consent page."""
    form = {
        "client_id": "sandbox-client",
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "state": "egnyte",
        "username": "jsmith",
        "decision": "allow",
    }
    answer = httpx.post(f"{url}/puboauth/consent", data=form)
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


@dataclass(frozen=True)
class Acme:
    """The domain acme: its public side with a token of jsmith, and its control routes."""

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

    def token(self, username: str = "jsmith") -> dict[str, Any]:
        token: dict[str, Any] = self.control("tokens", username=username)
        return token

    def _steer(self, method: str, path: str, order: dict[str, Any]) -> Any:
        answer = self.steering.request(method, f"/control/egnyte/acme/{path}", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()
