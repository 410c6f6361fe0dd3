"""What the module of a vendor offers to the server."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Fake:
    """One vendor: its app goes under its name, its control routes under `/control/<name>`."""

    title: str
    app: ASGIApp
    control: APIRouter
    reset: Callable[[], None]
    places: Callable[[], list[str]]
    """Paths below the mount that are worth a link on the index page."""
