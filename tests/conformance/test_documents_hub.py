"""Every clause of the documents contract, for every provider, over its sandbox twin.

A provider takes part by existing. Its twin is mounted at `/{key}` and steered at `/control/{key}`; how an
account is prepared there stands in the constant TWIN of the provider's own test file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from processes import PATIENCE
from twins import twin_of

from app import registry
from app.errors import BadRequest, VendorUnauthorized
from app.hubs.documents import NEWEST, ChangePage, DocumentsProvider, Power
from app.registry import Provider
from app.upstream.client import Upstream, open_client

PROVIDERS = registry.discover({}).providers


@dataclass(frozen=True)
class Account:
    """A connected account at a sandbox vendor."""

    provider: Provider
    documents: DocumentsProvider
    change_files: Callable[[int], None]

    async def read_all(self, cursor: str | None, limit: int) -> tuple[list[ChangePage], list[str]]:
        """Every page until none is ready, and the ids of all changes in them."""
        pages = [await self.documents.changes(cursor, limit)]
        while pages[-1].more:
            pages.append(await self.documents.changes(pages[-1].cursor, limit))
        return pages, [change.event_id for page in pages for change in page.changes]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.key)
async def account(
    request: pytest.FixtureRequest, sandbox: httpx.Client, sandbox_url: str
) -> AsyncIterator[Account]:
    provider: Provider = request.param
    twin = twin_of(provider.key)
    access_token = twin.token(sandbox)

    async def token(rejected: str | None = None) -> str:
        if rejected:
            raise VendorUnauthorized
        return access_token

    async with open_client(connections=5, timeout=timedelta(seconds=PATIENCE), agent="test") as client:
        url = f"{sandbox_url}/{provider.key}/{twin.place}"
        upstream = Upstream(client, base_url=url, token=token, interpret=provider.refusal)
        yield Account(provider, provider(upstream, {}), lambda count: twin.change_files(sandbox, count))


async def test_what_a_provider_is_is_declared(account: Account) -> None:
    provider = account.provider
    assert provider.key == provider.key.lower()
    assert provider.page_limit >= 1
    assert {Power.PING, Power.CHANGES} <= provider.powers
    assert len({field.key for field in provider.fields}) == len(provider.fields)
    for field in provider.fields:
        assert field.description
        assert field.example or not field.pattern
        assert "{" + field.key + "}" not in provider.base_url or field.pattern


async def test_ping_returns_when_the_vendor_answers(account: Account) -> None:
    await account.documents.ping()


async def test_the_newest_cursor_leaves_the_past_out(account: Account) -> None:
    account.change_files(2)
    start = await account.documents.changes(NEWEST, 10)
    assert (start.changes, start.more, start.gap) == ([], False, False)
    account.change_files(3)
    assert len((await account.read_all(start.cursor, 10))[1]) == 3


async def test_no_cursor_starts_at_the_oldest(account: Account) -> None:
    account.change_files(3)
    assert len((await account.read_all(None, 10))[1]) == 3


async def test_pages_follow_each_other_without_hole_or_repetition(account: Account) -> None:
    start = (await account.documents.changes(NEWEST, 1)).cursor
    account.change_files(25)
    pages, found = await account.read_all(start, 10)
    assert all(len(page.changes) <= 10 for page in pages)
    assert len(found) == len(set(found)) == 25


async def test_an_empty_page_has_a_cursor_that_resumes(account: Account) -> None:
    start = (await account.documents.changes(NEWEST, 10)).cursor
    empty = await account.documents.changes(start, 10)
    assert (empty.changes, empty.more) == ([], False)
    account.change_files(1)
    assert len((await account.read_all(empty.cursor, 10))[1]) == 1


async def test_repeating_a_call_gives_the_same(account: Account) -> None:
    start = (await account.documents.changes(NEWEST, 10)).cursor
    account.change_files(4)
    first, again = [await account.read_all(start, 10) for _ in range(2)]
    assert first[1] == again[1]


async def test_a_change_says_what_the_surface_needs(account: Account) -> None:
    account.change_files(1)
    pages, _ = await account.read_all(None, 10)
    (change,) = pages[0].changes
    assert (change.event_type, change.object_type) == ("CREATED", "file")
    assert change.object_id
    assert change.path
    assert change.path.endswith(f"/{change.name}")
    assert change.date.utcoffset() is not None
    assert change.raw


@pytest.mark.parametrize("cursor", ["", "no cursor", "-1", "1;2", "9" * 400, "\0"])
async def test_a_malformed_cursor_is_a_bad_request(account: Account, cursor: str) -> None:
    with pytest.raises(BadRequest, match="cursor"):
        await account.documents.changes(cursor, 10)
