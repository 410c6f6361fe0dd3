"""Which hosts are a vendor's own: those that its API is on, and those that it may name in its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from app.errors import VendorUnavailable


@dataclass(frozen=True)
class Hosts:
    """The URLs of a vendor's hosts by their names, of which the first is empty, and the domains below which
    it has more."""

    urls: Mapping[str, str]
    domains: Sequence[str] = ()

    def url(self, path: str, host: str = "") -> str:
        """The whole URL of a path on one of the hosts; one that the vendor has named stays as it is. Raises
        VendorUnavailable for one that is not the vendor's own: the account's token would go there."""
        if not path.startswith(("http://", "https://")):
            return self.urls[host].rstrip("/") + path
        if not self.own(path):
            raise VendorUnavailable("the vendor's answer leads to a host that is not one of its own")
        return path

    def own(self, url: str) -> bool:
        """Whether a URL is on one of the hosts, or by https below one of the domains."""
        try:
            there, homes = httpx.URL(url), [httpx.URL(home) for home in self.urls.values()]
        except httpx.InvalidURL:
            return False
        if there.userinfo:
            return False
        if any(_origin(there) == _origin(home) for home in homes):
            return True
        if there.scheme != "https" or not re.fullmatch(r"[a-z0-9.-]+", there.host):
            return False
        return f".{there.host}".endswith(tuple(f".{name}" for name in self.domains))


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
