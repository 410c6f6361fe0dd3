"""/elements: the kinds of vendor, and where their OAuth begins. No authorization is needed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.bodies import JsonRoute
from app.api.deps import RuntimeDep
from app.api.problems import responses
from app.upstream import oauth
from app.wire import elements
from app.wire.elements import ConfigurableElementBody, ElementBody, OAuthUrlBody

router = APIRouter(route_class=JsonRoute, prefix="/elements", tags=["elements"])

KeyOrId = Annotated[str, Path(alias="keyOrId", description="Key or id of the element: `egnyte` or `4016`.")]


@router.get("", response_model_exclude_none=True, responses=responses())
async def list_elements(runtime: RuntimeDep) -> list[ElementBody]:
    """Lists the elements that instances can be made of."""
    return [elements.element(provider) for provider in runtime.registry.providers]


@router.get("/{keyOrId}", response_model_exclude_none=True, responses=responses(404))
async def get_element(runtime: RuntimeDep, key_or_id: KeyOrId) -> ConfigurableElementBody:
    """Gets an element with its configuration keys."""
    return elements.configurable_element(runtime.registry.find(key_or_id))


@router.get("/{keyOrId}/oauth/url", responses=responses(400, 404))
async def get_oauth_url(
    runtime: RuntimeDep,
    key_or_id: KeyOrId,
    api_key: Annotated[str, Query(alias="apiKey", min_length=1, description="Client id of your app.")],
    callback_url: Annotated[str, Query(alias="callbackUrl", min_length=1, description="Its redirect URI.")],
    api_secret: Annotated[str, Query(alias="apiSecret", description="Its secret; not used here.")] = "",
    scope: Annotated[str | None, Query(description="Scopes instead of the usual ones.")] = None,
    state: Annotated[str | None, Query(description="Comes back with the code.")] = None,
    subdomain: Annotated[str | None, Query(description="The account's subdomain.")] = None,
    site_address: Annotated[str | None, Query(alias="siteAddress", description="Same as subdomain.")] = None,
) -> OAuthUrlBody:
    """Answers the vendor's consent page for your app. Without a subdomain its place in the host is empty."""
    provider = runtime.registry.find(key_or_id)
    account = {"subdomain": subdomain or site_address}
    url = oauth.authorization_url(
        provider.oauth,
        runtime.registry.base_url(provider, account, provider.oauth.authorize_host),
        client_id=api_key,
        redirect_uri=callback_url,
        state=state or provider.key,
        scope=scope,
    )
    return OAuthUrlBody(element=provider.key, oauthUrl=url)
