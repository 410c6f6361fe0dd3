"""The tables. Every row that a hot path touches carries its `account_id`, so that accounts can be spread
over databases; no query on a hot path joins across accounts."""

from app.store.tables.columns import Duty, UtcDateTime, metadata, table
from app.store.tables.events import (
    AsyncRequest,
    Attempt,
    Callback,
    Delivery,
    DeliveryObject,
    Event,
    EventSequence,
    KnownObject,
    Notification,
    Poller,
    Pruning,
    Subscription,
    VendorWebhook,
)
from app.store.tables.instances import Credential, FileLink, Instance
from app.store.tables.operation import AuditEntry, EncryptionKey, SchemaCompatibility
from app.store.tables.tenants import Account, OAuthState, Organization, Secret, User
from app.store.tables.words import (
    ASYNC_RESOURCE,
    FAILURE_POLICY,
    NO_CALLBACK,
    DeliveryStatus,
    ExternalAuthentication,
    FailurePolicy,
    Role,
    SecretKind,
    Via,
)

__all__ = [
    "ASYNC_RESOURCE",
    "FAILURE_POLICY",
    "NO_CALLBACK",
    "Account",
    "AsyncRequest",
    "Attempt",
    "AuditEntry",
    "Callback",
    "Credential",
    "Delivery",
    "DeliveryObject",
    "DeliveryStatus",
    "Duty",
    "EncryptionKey",
    "Event",
    "EventSequence",
    "ExternalAuthentication",
    "FailurePolicy",
    "FileLink",
    "Instance",
    "KnownObject",
    "Notification",
    "OAuthState",
    "Organization",
    "Poller",
    "Pruning",
    "Role",
    "SchemaCompatibility",
    "Secret",
    "SecretKind",
    "Subscription",
    "User",
    "UtcDateTime",
    "VendorWebhook",
    "Via",
    "metadata",
    "table",
]
