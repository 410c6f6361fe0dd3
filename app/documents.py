"""A call of the documents hub on one instance: bind the provider, ask it, shape the answer."""

from __future__ import annotations

from datetime import timedelta

from app.errors import BadRequest
from app.hubs.documents import ChangePage, DocumentsProvider, Power
from app.registry import Provider
from app.runtime import Runtime
from app.store.tables import Instance
from app.upstream.client import TokenSource, Upstream


def bind(runtime: Runtime, instance: Instance, *, budget: timedelta | None) -> DocumentsProvider:
    """The provider of an instance, ready to be asked. Without a budget nothing is tried twice."""
    provider = runtime.registry.find(instance.element_key)
    token = runtime.credentials.token_source(instance, provider)
    return connect(runtime, provider, instance.configuration, token, budget=budget)


def connect(
    runtime: Runtime,
    provider: Provider,
    configuration: dict[str, str | None],
    token: TokenSource,
    *,
    budget: timedelta | None,
) -> DocumentsProvider:
    """The provider of an account that may not be an instance yet."""
    upstream = Upstream(
        runtime.vendors,
        base_url=runtime.registry.base_url(provider, configuration),
        token=token,
        interpret=provider.refusal,
        budget=budget,
    )
    return provider(upstream, configuration)


async def ping(runtime: Runtime, instance: Instance) -> None:
    """Returns when the vendor answers. Raises the VendorError that says why it did not."""
    await _able(runtime, instance, Power.PING).ping()


async def changes(runtime: Runtime, instance: Instance, *, cursor: str | None, limit: int) -> ChangePage:
    """One page of the instance's event stream, on demand; a larger `limit` is cut to the vendor's."""
    provider = _able(runtime, instance, Power.CHANGES)
    return await provider.changes(cursor, min(limit, provider.page_limit))


def _able(runtime: Runtime, instance: Instance, power: Power) -> DocumentsProvider:
    provider = bind(runtime, instance, budget=runtime.settings.vendor_budget)
    if power not in provider.powers:
        raise BadRequest(f"The element '{instance.element_key}' does not support '{power}'")
    return provider
