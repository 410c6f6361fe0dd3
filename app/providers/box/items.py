"""What is true of every form in which Box shows a file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.upstream.reading import mapping, rows

ROOT, TRASH = "0", "1"


def path_of(item: Mapping[str, Any], name: str) -> str:
    """Box names the folders above an item; the outermost one, "All Files", is no part of a path."""
    if item.get("id") == ROOT:
        return "/"
    above = mapping(item.get("path_collection")).get("entries")
    return "/".join(["", *[str(row.get("name")) for row in rows(above) if row.get("id") != ROOT], name])


def is_in_trash(item: Mapping[str, Any]) -> bool:
    """Whether what Box names above an item is not where it was: a deleted one may be in the trash, or
    nowhere."""
    above = [row.get("id") for row in rows(mapping(item.get("path_collection")).get("entries"))]
    return TRASH in above or (item.get("item_status") not in (None, "active") and ROOT not in above)
