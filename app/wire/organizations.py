"""Organizations as `/organizations` answers them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from app.store.tables import Organization
from app.wire import dates


class OrganizationBody(BaseModel):
    """A customer of this gateway's operator."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": 1, "name": "Acme", "createdDate": "2026-01-05T10:00:00Z"}}
    )

    id: int
    name: str
    createdDate: str


def organization(found: Organization) -> OrganizationBody:
    return OrganizationBody(id=found.id, name=found.name, createdDate=dates.seconds(found.created_at))
