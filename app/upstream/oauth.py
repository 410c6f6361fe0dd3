"""OAuth 2.0 towards vendors: the authorization URL, the code exchange, the refresh, the revocation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request

from app.errors import GrantRefused, VendorRefused, VendorThrottled, VendorUnavailable
from app.tasks import answered
from app.upstream import client as upstream
from app.upstream.client import Refusal

_GRACE = 10.0  # seconds
_LONGEST = timedelta(days=36_500)


@dataclass(frozen=True)
class OAuthSpec:
    """A vendor's OAuth facts; paths are under the account's base URL, except that the consent page may be on
    one of the vendor's other hosts."""

    authorize_path: str
    token_path: str
    revoke_path: str | None = None
    authorize_host: str = ""
    scopes: tuple[str, ...] = ()
    throttle_statuses: frozenset[int] = frozenset({429})


@dataclass(frozen=True)
class App:
    """The application that the customer registered at the vendor."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True)
class Tokens:
    """What a vendor gave. `expires_in` is None for a token that does not expire, `refresh_token` None
    when there is nothing to refresh it with."""

    access_token: str
    refresh_token: str | None
    expires_in: timedelta | None
    received_at: datetime

    def __repr__(self) -> str:
        return f"Tokens(received_at={self.received_at:%FT%TZ})"


def authorization_url(
    spec: OAuthSpec, base_url: str, *, client_id: str, redirect_uri: str, state: str, scope: str | None
) -> str:
    """Where the owner of the account gives his consent. `scope` replaces the vendor's usual ones."""
    url: str = prepare_grant_uri(
        base_url.rstrip("/") + spec.authorize_path,
        client_id=client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=scope or " ".join(spec.scopes),
        state=state,
    )
    return url


async def exchange_code(
    client: httpx.AsyncClient, spec: OAuthSpec, base_url: str, app: App, code: str, now: datetime
) -> Tokens:
    """Trades a code for tokens.

    Raises GrantRefused with the vendor's words (used or foreign code, wrong redirect URI), VendorRefused
    (wrong client), VendorThrottled, or VendorUnavailable.
    """
    form = prepare_token_request(
        "authorization_code",
        code=code,
        redirect_uri=app.redirect_uri,
        client_id=app.client_id,
        client_secret=app.client_secret,
    )
    return await _tokens(client, spec, base_url, form, now)


async def refresh(
    client: httpx.AsyncClient, spec: OAuthSpec, base_url: str, app: App, refresh_token: str, now: datetime
) -> Tokens:
    """Trades a refresh token for new tokens; keeps the refresh token where the vendor gives no new one.

    Raises as `exchange_code` does.
    """
    form = prepare_token_request(
        "refresh_token",
        refresh_token=refresh_token,
        client_id=app.client_id,
        client_secret=app.client_secret,
    )
    fresh = await _tokens(client, spec, base_url, form, now)
    return Tokens(
        fresh.access_token, fresh.refresh_token or refresh_token, fresh.expires_in, fresh.received_at
    )


async def revoke(client: httpx.AsyncClient, spec: OAuthSpec, base_url: str, app: App, token: str) -> None:
    """Ends a token and those that belong to it (RFC 7009). Raises a VendorError where that did not happen."""
    form = {"token": token, "client_id": app.client_id, "client_secret": app.client_secret}
    request = _request(client, base_url, spec.revoke_path or "", urlencode(form))
    await upstream.send(client, request, lambda answer: _refusal(answer, spec), total=client.timeout.read)


async def _tokens(
    client: httpx.AsyncClient, spec: OAuthSpec, base_url: str, form: str, now: datetime
) -> Tokens:
    answer = await _granted(client, spec, base_url, form)
    try:
        body = upstream.decode(answer)
    except VendorUnavailable as error:  # without the vendor's words: tokens may stand in them
        raise VendorUnavailable(error.message, vendor_status=error.vendor_status) from None
    if not isinstance(body, dict) or not isinstance(body.get("access_token"), str):
        raise VendorUnavailable("the vendor's token answer carries no access_token")
    return Tokens(
        access_token=body["access_token"],
        refresh_token=body.get("refresh_token") or None,
        expires_in=_lifetime(body.get("expires_in")),
        received_at=now,
    )


async def _granted(client: httpx.AsyncClient, spec: OAuthSpec, base_url: str, form: str) -> httpx.Response:
    """The vendor's answer to a code or a refresh token, either of which may work only once: what it answers
    late, or while this process is stopped, is not thrown away."""
    request = _request(client, base_url, spec.token_path, form)
    request.extensions["timeout"] = httpx.Timeout(client.timeout.connect, read=None).as_dict()
    sent = upstream.send(client, request, lambda answer: _refusal(answer, spec), total=None)
    patience = client.timeout.read or 0
    try:
        return await answered(sent, within=patience, grace=grace(patience))
    except TimeoutError:
        where = f"{request.method} {request.url.host}{request.url.path}"
        raise VendorUnavailable(f"{where}: no answer in time") from None


def grace(patience: float) -> float:
    """The seconds that a vendor has for tokens beyond those of any other answer."""
    return min(patience, _GRACE)


def _request(client: httpx.AsyncClient, base_url: str, path: str, form: str) -> httpx.Request:
    return client.build_request(
        "POST",
        base_url.rstrip("/") + path,
        content=form,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
    )


def _refusal(answer: Refusal, spec: OAuthSpec) -> Exception:
    body = answer.json()
    words = _words(body) or answer.text() or f"HTTP {answer.status}"
    wait = answer.retry_after
    if answer.status >= 500 or answer.status < 400:
        return VendorUnavailable(provider_message=words, vendor_status=answer.status, retry_after=wait)
    if answer.status in spec.throttle_statuses or wait is not None:  # nobody waits for a dead grant
        return VendorThrottled(provider_message=words, vendor_status=answer.status, retry_after=wait)
    # Only this one says that the grant is dead; a wrong secret or a broken proxy can be mended.
    kind = GrantRefused if isinstance(body, dict) and body.get("error") == "invalid_grant" else VendorRefused
    return kind(provider_message=words, vendor_status=answer.status)


def _words(body: object) -> str | None:
    """The error of RFC 6749, section 5.2."""
    if not isinstance(body, dict):
        return None
    parts = [body.get("error"), body.get("error_description")]
    return ": ".join(part for part in parts if isinstance(part, str) and part) or None


def _lifetime(seconds: object) -> timedelta | None:
    """Zero, negative, absent, unreadable or beyond all calendars: the token does not expire."""
    try:
        lifetime = timedelta(seconds=float(str(seconds)))
    except (ValueError, OverflowError):
        return None
    return lifetime if timedelta(0) < lifetime < _LONGEST else None
