"""Instances as the service that somebody comes from has exported them."""

from __future__ import annotations

from typing import Any

from acme import REDIRECT_URI, Acme
from gateway import Gateway

from app.provisioning import importer
from app.provisioning.importer import Line

TOKEN = "3Zs4Ql0fJ1Yp1Zq3v0dV0sQm1oTn6b0eXg2H9c7u5dE="
LEGACY = (
    "events|/hubs/documents/events||event_date|yyyy-MM-dd'T'HH:mm:ss.SSSX|GMT|event_date|"
    "yyyy-MM-dd'T'HH:mm:ss.SSSX|GMT"
)


def exported(acme: Acme, **changes: Any) -> dict[str, Any]:
    """An instance as the old service answered it, with the tokens of a sandbox account."""
    configuration = {
        "base.url": "",
        "subdomain": "acme",
        "oauth.api.key": "sandbox-client",
        "oauth.api.secret": "sandbox-secret",
        "oauth.callback.url": REDIRECT_URI,
        "oauth.user.token": acme.token()["access_token"],
        "oauth.user.refresh_interval": None,
        "oauth.user.refresh_time": "1496784574729",
        "event.notification.enabled": "true",
        "event.notification.callback.url": "https://app.example.com/changes",
        "event.poller.refresh_interval": "30",
        "event.poller.urls": LEGACY,
        "filter.response.nulls": "true",
    }
    return {
        "id": 427236,
        "name": "FromAPI-tags",
        "createdDate": "2017-06-06T21:29:33Z",
        "token": TOKEN,
        "element": {"id": 4016, "key": "egnyte", "name": "Egnyte", "hub": "documents"},
        "elementId": 4016,
        "tags": ["Docs"],
        "valid": True,
        "disabled": False,
        "configuration": configuration | changes.pop("configuration", {}),
        "externalAuthentication": "none",
        "user": {"id": 1234567},
        **changes,
    }


async def take_over(gateway: Gateway, *items: Any) -> list[Line]:
    caller = await importer.owner_of(gateway.runtime, None)
    return await importer.take_over(gateway.runtime, caller, items)
