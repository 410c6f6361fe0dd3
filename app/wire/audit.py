"""Entries of the audit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from app.store.tables import AuditEntry
from app.wire import dates


class AuditEntryBody(BaseModel):
    """Who did what to what. `userId` is absent where it was no user of the gateway: `actor` then says
    `gateway`, `cli:` with the name of an operator, or `unknown`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "2839477190262784",
                "createdDate": "2026-01-05T10:00:12.120Z",
                "organizationId": 1,
                "accountId": 1,
                "userId": 1,
                "actor": "ann@example.com",
                "action": "instance.changed",
                "subject": "instance 427236",
                "details": {"changed": ["name", "configuration.event.notification.enabled"]},
                "address": "203.0.113.7",
                "requestId": "8d2f0c4b6a1e3957d0f2b4c6",
            }
        }
    )

    id: str
    createdDate: str
    organizationId: int | None = None
    accountId: int | None = None
    userId: int | None = None
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    address: str | None = None
    requestId: str | None = None


def entry(found: AuditEntry) -> AuditEntryBody:
    return AuditEntryBody(
        id=str(found.id),
        createdDate=dates.milliseconds(found.at),
        organizationId=found.organization_id,
        accountId=found.account_id,
        userId=found.user_id,
        actor=found.actor,
        action=found.action,
        subject=found.subject,
        details=found.details,
        address=found.address,
        requestId=found.request_id,
    )
