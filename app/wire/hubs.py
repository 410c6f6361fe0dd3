"""Hubs as `GET /hubs` spells them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from app.hubs.documents import HUB_ID, HUB_KEY
from app.registry import Provider
from app.wire import elements
from app.wire.elements import ElementBody


class HubBody(BaseModel):
    """A kind of vendor with one contract. `elements` are the vendors, where they are asked for."""

    id: int = HUB_ID
    name: str = "Cloud Storage & Documents"
    key: str = HUB_KEY
    description: str = (
        "The documents hub: files and folders, their metadata, links, comments and versions, search, and the "
        "changes in them."
    )
    active: bool = True
    elements: list[ElementBody] | None = None


def hubs(providers: Sequence[Provider], *, hydrate: bool = False) -> list[HubBody]:
    """The hubs that this gateway serves."""
    return [HubBody(elements=[elements.element(provider) for provider in providers] if hydrate else None)]
