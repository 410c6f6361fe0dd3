"""What a column may say: the words of states, kinds and roles."""

from __future__ import annotations

from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Cloud Elements' words: created and retry wait for their time, queued waits for its owner, notified is
    what he has fetched and acknowledged himself."""

    CREATED = "created"
    RETRY = "retry"
    DELIVERED = "delivered"
    NOTIFIED = "notified"
    QUEUED = "queued"


class Via(StrEnum):
    """How an event came in: the gateway asked the vendor, the vendor called, or it is the gateway's own."""

    POLLING = "polling"
    WEBHOOK = "webhook"
    GATEWAY = "gateway"


class ExternalAuthentication(StrEnum):
    """Who asked the owner of an account for his consent: a client of the gateway, or somebody before it."""

    NONE = "none"
    INITIAL = "initial"


class Role(StrEnum):
    """What a user may do beside using the instances of his account; each role includes the ones below it."""

    ORGANIZATION = "org-admin"
    ACCOUNT = "admin"
    USER = "user"


class SecretKind(StrEnum):
    """An organization's and a user's secret prove a caller together, the token of a login does alone. Pairs
    that were asked for with a login prove as much as the others; only the newest of them stay."""

    ORGANIZATION = "organization"
    ORGANIZATION_BY_LOGIN = "organization-by-login"
    USER = "user"
    USER_BY_LOGIN = "user-by-login"
    LOGIN = "login"


class FailurePolicy(StrEnum):
    """What an account wants for notifications that its receivers did not take."""

    RETRY = "retry"
    QUEUE = "queue"


NO_CALLBACK = "the instance has no callback URL"
"""Why a subscription is not active whose owner has taken its callback out of the configuration."""

ASYNC_RESOURCE = "async"
"""The resource of the notifications that tell of an instance's requests."""

FAILURE_POLICY = "notification.webhook.failure.policy"
"""The setting of an account that holds its FailurePolicy."""
