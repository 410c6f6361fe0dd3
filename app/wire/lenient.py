"""What all bodies of the platform have in common that clients send."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class LenientBody(BaseModel):
    """Clients send more than is read, and null for what they do not mean: a field that is null is as good as
    absent."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if isinstance(body, dict):
            return {key: value for key, value in body.items() if value is not None}
        return body
