"""The consent of an account's owner: the vendor's page that asks for it, and the way of the answer to the
application, through the OAuth proxy where that is wanted: a callback URL of the gateway's own."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, unquote_plus, urlencode, urlsplit, urlunsplit

from app import acting, audit
from app.audit import Action
from app.configuration import LONGEST_URL
from app.errors import BadRequest, Unauthorized
from app.registry import Provider
from app.runtime import Runtime
from app.store import oauth_states
from app.store.tables import OAuthState
from app.tenancy.tenants import digest
from app.upstream import oauth

PATH = "/oauth/proxy"

_STATE = "state"
_STATE_BYTES = 32  # 43 letters in the URL
_FORGOTTEN = 20  # ended states per new one: they are gone sooner than they come
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:.)")
_RUN_BY_BROWSERS = frozenset({"javascript", "data", "vbscript"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """Which app asks the owner of an account, and for what. With `proxied` the answer comes to the OAuth
    proxy, and `state` is the URL of the application that it goes on to; who is `trusted` may name any."""

    provider: Provider
    client_id: str
    callback_url: str
    state: str
    scope: str
    subdomain: str
    proxied: bool
    trusted: bool


@dataclass(frozen=True)
class Page:
    """The vendor's page, and the callback URL that the code is good for."""

    url: str
    callback_url: str


async def page(runtime: Runtime, wish: Wish, *, public_url: str) -> Page:
    """Where the owner gives his consent; without a subdomain its place in the host is empty. A callback URL
    that is the OAuth proxy's stands for `proxied` as well.

    Raises BadRequest for a callback URL or a target that is missing or cannot be used, and Unauthorized
    for a target that not everybody may name.
    """
    proxy_url = f"{public_url}/elements/api-v2{PATH}"
    callback_url = wish.callback_url or (proxy_url if wish.proxied else "")
    _check_callback_url(callback_url)
    proxied = wish.proxied or callback_url in {proxy_url, public_url + PATH}
    url = oauth.authorization_url(
        wish.provider.oauth,
        runtime.registry.base_url(
            wish.provider, {"subdomain": wish.subdomain}, wish.provider.oauth.authorize_host
        ),
        client_id=wish.client_id,
        redirect_uri=callback_url,
        state=await _new_state(runtime, wish) if proxied else wish.state or wish.provider.key,
        scope=wish.scope or None,
    )
    return Page(url, callback_url)


async def lead_on(runtime: Runtime, state: str, answer: Sequence[tuple[str, str]]) -> str:
    """The URL of the application with the vendor's answer in its query, for a state that was given. It works
    once. Raises BadRequest."""
    if not {"code", "error"} & {name for name, _ in answer}:
        raise BadRequest("code: is required")
    async with runtime.database.write() as connection:
        target_url = await oauth_states.take(connection, digest(state), now=runtime.clock.now())
    if target_url is None:
        raise BadRequest("state: is unknown, was used, or has ended; ask for the consent again")
    return _with_query(target_url, [(name, value) for name, value in answer if name != _STATE])


async def _new_state(runtime: Runtime, wish: Wish) -> str:
    """A state for the vendor. The application finds the element's key as its own, where it names none."""
    target = _target(wish.state)
    _check_may_name(runtime, wish, target)
    names = {_name(pair) for pair in target.query.split("&")}
    own = [] if _STATE in names else [(_STATE, wish.provider.key)]
    state, now = secrets.token_urlsafe(_STATE_BYTES), runtime.clock.now()
    row = OAuthState(
        hash=digest(state),
        target_url=_with_query(wish.state, own),
        expires_at=now + runtime.settings.oauth_state_lifetime,
    )
    noted, asker = runtime.noted, (acting.actor().address, target.netloc)
    async with runtime.database.write() as connection:
        await oauth_states.forget_ended(connection, limit=_FORGOTTEN, now=now)
        await oauth_states.keep(connection, row)
        told = wish.trusted or (bool(noted.consents.new([asker])) and not noted.asked.is_spent)
        if told:
            subject, host = f"element {wish.provider.key}", target.hostname
            await audit.record(connection, Action.CONSENT_ASKED, subject, at=now, host=host)
    if told and not wish.trusted:
        noted.consents.note([asker])
        noted.asked.take(1)
    log.info("consent asked for", extra={"element": wish.provider.key, "host": target.netloc})
    return state


def _check_callback_url(url: str) -> None:
    """Any scheme will do, for applications on a telephone; only the vendor knows what was registered."""
    if not url:
        raise BadRequest("callbackUrl: is required")
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[0].lower() in _RUN_BY_BROWSERS or not url.isprintable():
        raise BadRequest("callbackUrl: is not an absolute URL that a browser can be sent to")
    if len(url) > LONGEST_URL:
        raise BadRequest(f"callbackUrl: is longer than {LONGEST_URL} characters")


def _target(url: str) -> SplitResult:
    """Where the OAuth proxy is to send a browser. Browsers and servers read some URLs in several ways; these
    are refused. Raises BadRequest."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \\#") and len(url) <= LONGEST_URL
    try:
        parts = urlsplit(url) if plain else SplitResult("", "", "", "", "")
        usable = (
            parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        usable = False
    if not usable or not _is_straight(parts.path):
        raise BadRequest(
            "state: must be the callback URL of your application where the OAuth proxy is used: http or "
            f"https, absolute, at most {LONGEST_URL} characters, without a user, a fragment or dot segments"
        )
    return parts


def _is_straight(path: str) -> bool:
    """Whether nobody can read the path as one that leads upwards."""
    while (decoded := unquote(path)) != path:
        path = decoded
    segments = {part.partition(";")[0] for part in re.split(r"[/\\]", path)}  # Java reads `..;x` as `..`
    return not {".", ".."} & segments


def _check_may_name(runtime: Runtime, wish: Wish, target: SplitResult) -> None:
    allowed = [urlsplit(beginning) for beginning in runtime.settings.oauth_proxy_targets]
    if not wish.trusted and not any(_begins_with(target, beginning) for beginning in allowed):
        raise Unauthorized(
            "state: without a User and an Organization secret it must begin with one of "
            "GATEWAY_OAUTH_PROXY_TARGETS"
        )


def _begins_with(target: SplitResult, beginning: SplitResult) -> bool:
    """Whether they have scheme, host and port in common, and the first segments of the path."""
    path, above = target.path or "/", beginning.path or "/"
    same_place = _place(target) == _place(beginning)
    return same_place and (path == above or path.startswith(above.rstrip("/") + "/"))


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _with_query(url: str, added: Sequence[tuple[str, str]]) -> str:
    """The URL with parameters; its own stay as they were written, except those of the same names."""
    parts, names = urlsplit(url), {name for name, _ in added}
    own = [pair for pair in parts.query.split("&") if pair and _name(pair) not in names]
    return urlunsplit(parts._replace(query="&".join([*own, *([urlencode(added)] if added else [])])))


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])
