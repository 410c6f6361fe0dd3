"""The commands that print what is generated from the code: documents, and the version."""

from __future__ import annotations

import json

import typer

from app import __version__, registry
from app.settings import Settings
from app.settings import page as settings_page

commands = typer.Typer()


@commands.command("settings")
def show_settings() -> None:
    """Print docs/settings.md."""
    print(settings_page.as_markdown(), end="")


@commands.command("providers")
def show_providers() -> None:
    """Print docs/providers.md."""
    print(registry.as_markdown(registry.discover({})), end="")


@commands.command()
def openapi() -> None:
    """Print the OpenAPI document of this gateway."""
    print(openapi_text(), end="")


@commands.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def openapi_text() -> str:
    """What `openapi/gateway.json` holds."""
    from app.main import create_app

    document = create_app(Settings(_env_file=None), with_workers=False).openapi()
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
