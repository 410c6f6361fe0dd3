"""OAuth: where the consent for an element begins, and the OAuth proxy that its answer comes back to."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from app.api.bodies import JsonRoute
from app.api.chosen import KeyOrId
from app.api.deps import KnownCallerDep, PublicUrlDep, RuntimeDep, client_of
from app.api.problems import responses
from app.api.requests import request_id
from app.errors import BadRequest, NotFound
from app.provisioning import consent
from app.provisioning.consent import Wish
from app.registry import Provider
from app.store.tenants import Caller
from app.wire import elements
from app.wire.elements import DefaultOAuthUrlBody, DefaultOAuthUrlOrder, OAuthUrlBody, OAuthUrlOrder

router = APIRouter(
    route_class=JsonRoute,
    prefix="/elements/{keyOrId}/oauth",
    tags=["elements"],
    responses=responses(400, 401, 404, 429),
)
proxy = APIRouter(tags=["elements"])

_ALONE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""A code is in the URL: nobody keeps the answer, and no other site is told."""

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark">'
    "<title>Not connected</title><h1>The account was not connected</h1><p>{message}</p>"
    "<p>Go back to the application and connect the account again.</p><p><small>{request}</small></p></html>"
)
_PAGE_HEADERS = _ALONE | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}


@router.get("/url")
async def get_oauth_url(
    runtime: RuntimeDep,
    public_url: PublicUrlDep,
    caller: KnownCallerDep,
    key_or_id: KeyOrId,
    order: Annotated[OAuthUrlOrder, Query()],
) -> OAuthUrlBody:
    """Answers the vendor's consent page for your app.

    With `isOauthProxy` the vendor sends its answer to this gateway, which passes it on to the URL in `state`.
    Without a User and an Organization secret that URL has to be one of those that the operator allows.
    Without a subdomain its place in the host is empty.
    """
    provider = runtime.registry.find(key_or_id)
    page = await consent.page(runtime, _wish(provider, order, order.apiKey, caller), public_url=public_url)
    return OAuthUrlBody(element=provider.key, oauthUrl=page.url)


@router.post("/url")
async def create_oauth_url(
    runtime: RuntimeDep,
    public_url: PublicUrlDep,
    caller: KnownCallerDep,
    key_or_id: KeyOrId,
    order: OAuthUrlOrder,
) -> OAuthUrlBody:
    """Answers the vendor's consent page for your app, as GET does."""
    return await get_oauth_url(runtime, public_url, caller, key_or_id, order)


@router.get("/url/default")
async def get_default_oauth_url(
    runtime: RuntimeDep,
    public_url: PublicUrlDep,
    caller: KnownCallerDep,
    key_or_id: KeyOrId,
    order: Annotated[DefaultOAuthUrlOrder, Query()],
) -> DefaultOAuthUrlBody:
    """Answers the vendor's consent page for the operator's app, for accounts that bring none of their own.

    Where neither you nor the operator name a callback URL, it is that of the OAuth proxy.
    """
    provider = runtime.registry.find(key_or_id)
    app = runtime.settings.oauth_apps.get(provider.key)
    if app is None:
        raise NotFound(f"No default OAuth app of '{provider.key}' found")
    callback_url = order.callbackUrl or app.callback_url or ""
    order = order.model_copy(
        update={"callbackUrl": callback_url, "isOauthProxy": order.isOauthProxy or not callback_url}
    )
    api_key = app.key.get_secret_value()
    page = await consent.page(runtime, _wish(provider, order, api_key, caller), public_url=public_url)
    return elements.default_oauth_url(provider, page.url, api_key=api_key, callback_url=page.callback_url)


@router.get("/token")
async def get_oauth_token(runtime: RuntimeDep, key_or_id: KeyOrId) -> None:
    """Answers the request token of an element of the kind OAuth 1; there is none, so the answer is 400."""
    provider = runtime.registry.find(key_or_id)
    raise BadRequest(f"The element '{provider.key}' uses OAuth 2 and has no request token; ask for oauth/url")


@proxy.get(
    consent.PATH,
    status_code=302,
    response_class=Response,
    responses={**responses(429), 400: {**responses(400)[400], "content": {"text/html": {}}}},
)
async def follow_oauth_proxy(
    request: Request,
    runtime: RuntimeDep,
    state: Annotated[str, Query(description="What the vendor was given; it works once.")] = "",
) -> Response:
    """Takes the answer of a vendor, a `code` or an `error`, from the browser of an account's owner, and sends
    it on to the application that asked."""
    answer = request.query_params.multi_items()
    try:
        with runtime.rates.attempt(client_of(request), state, alone=True, refusal=BadRequest):
            return RedirectResponse(await consent.lead_on(runtime, state, answer), 302, headers=_ALONE)
    except BadRequest as error:
        if "text/html" not in request.headers.get("accept", "").lower():
            raise
        page = _PAGE.format(message=escape(error.message), request=escape(request_id(request)))
        return HTMLResponse(page, error.status, headers=_PAGE_HEADERS)


def _wish(provider: Provider, order: DefaultOAuthUrlOrder, client_id: str, caller: Caller | None) -> Wish:
    return Wish(
        provider=provider,
        client_id=client_id,
        callback_url=order.callbackUrl,
        state=order.state,
        scope=order.scope,
        subdomain=order.subdomain or order.siteAddress,
        proxied=order.isOauthProxy or order.callbackProxy,
        trusted=caller is not None,
    )
