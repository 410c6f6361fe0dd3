"""The page `docs/settings.md`, written from the settings."""

from __future__ import annotations

import json
from datetime import timedelta

from pydantic import SecretStr

from app.settings import PREFIX, Settings


def as_markdown() -> str:
    """The page `docs/settings.md`."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    head = [
        "# Settings",
        "",
        "Environment variables, or lines of a file `.env` in the working directory. A duration is a number",
        "of seconds or an ISO 8601 duration (`PT15M`). `python -m app settings` writes this page.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _shown(default: object) -> str:
    match default:
        case None:
            return ""
        case timedelta():
            return f"`{default.total_seconds():g}`"
        case SecretStr():
            return f"`{default.get_secret_value()}`"
        case dict() | list():
            return f"`{json.dumps(default)}`"
        case bool():
            return f"`{str(default).lower()}`"
        case _:
            return f"`{default}`"
