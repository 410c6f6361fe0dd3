"""Codes and tokens: what the vendors' OAuth servers have in common."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.sandbox.history import User

TokenKind = Literal["access", "refresh", "all"]


class OAuthError(Exception):
    """A refusal of the token endpoint, in the words of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class RegisteredApp:
    """An API key. A redirect URI may end in `*`, which then stands for the rest."""

    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]

    def allows(self, redirect_uri: str) -> bool:
        """Whether the browser may be sent there."""
        return any(
            redirect_uri.startswith(allowed[:-1]) if allowed.endswith("*") else redirect_uri == allowed
            for allowed in self.redirect_uris
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What a vendor promises about the tokens it hands out now; no number of seconds is for ever."""

    code_seconds: float
    access_seconds: float | None
    refresh_seconds: float | None
    refreshable: bool = True
    refresh: Literal["rotate", "same", "reuse"] = "rotate"
    """Rotate: a refresh ends the old refresh token. Reuse: there is a new one, but the old one stays."""


@dataclass(slots=True)
class Usage:
    """Calls made with a token, in this second and on this day (UTC)."""

    second: int = 0
    in_second: int = 0
    day: str = ""
    in_day: int = 0

    def count(self, now: datetime) -> None:
        """Counts one call."""
        second, day = int(now.timestamp()), now.date().isoformat()
        self.in_second = 1 if second != self.second else self.in_second + 1
        self.in_day = 1 if day != self.day else self.in_day + 1
        self.second, self.day = second, day


@dataclass(frozen=True, slots=True)
class Code:
    """Consent that waits to be exchanged, once."""

    value: str
    client_id: str
    redirect_uri: str
    user: User
    scope: str
    valid_until: float


@dataclass(eq=False, slots=True)
class Token:
    """An access token and the refresh token beside it; no end means that it never ends."""

    access: str
    refresh: str | None
    client_id: str
    user: User
    scope: str
    access_until: float | None
    refresh_until: float | None
    usage: Usage = field(default_factory=Usage)


def _over(until: float | None) -> bool:
    return until is not None and time.time() >= until


def _end(seconds: float | None) -> float | None:
    return None if seconds is None else time.time() + seconds


class Grants:
    """The codes and tokens of one company at a vendor; `terms` are asked for whenever one is made."""

    def __init__(self, terms: Callable[[], Terms]) -> None:
        self._terms = terms
        self._codes: dict[str, Code] = {}
        self._by_access: dict[str, Token] = {}
        self._by_refresh: dict[str, Token] = {}

    def __len__(self) -> int:
        return len(self._by_access)

    def consent(self, client_id: str, redirect_uri: str, user: User, scope: str) -> str:
        """A code for the browser to carry."""
        self._codes = {code.value: code for code in self._codes.values() if not _over(code.valid_until)}
        value = secrets.token_urlsafe(16)
        until = time.time() + self._terms().code_seconds
        self._codes[value] = Code(value, client_id, redirect_uri, user, scope, until)
        return value

    def redeem(self, value: str, client_id: str, redirect_uri: str | None) -> Token:
        """The token for a code. The code is gone afterwards, also when it did not fit.

        Without a redirect_uri none is compared: not every vendor asks for it a second time.
        """
        code = self._codes.pop(value, None)
        if code is None or _over(code.valid_until) or code.client_id != client_id:
            raise OAuthError("invalid_grant", "The authorization code is invalid or expired")
        if redirect_uri is not None and code.redirect_uri != redirect_uri:
            raise OAuthError("invalid_grant", "The redirect_uri is not the one of the authorization request")
        return self.issue(code.user, client_id, code.scope)

    def issue(self, user: User, client_id: str, scope: str, *, refreshable: bool = True) -> Token:
        """A new token, with or without a refresh token as the terms say."""
        terms = self._terms()
        refreshable = refreshable and terms.refreshable
        token = Token(
            access=secrets.token_urlsafe(24),
            refresh=secrets.token_urlsafe(32) if refreshable else None,
            client_id=client_id,
            user=user,
            scope=scope,
            access_until=_end(terms.access_seconds),
            refresh_until=_end(terms.refresh_seconds) if refreshable else None,
        )
        self._keep(token)
        return token

    def renew(self, refresh: str, client_id: str) -> Token:
        """A new access token. Older ones stay valid until they end; the refresh token may change."""
        old = self._by_refresh.get(refresh)
        if old is None or old.client_id != client_id:
            raise OAuthError("invalid_grant", "Invalid refresh token")
        if _over(old.refresh_until):
            raise OAuthError("invalid_grant", "Refresh token has expired")
        token = self.issue(old.user, old.client_id, old.scope)
        mode = self._terms().refresh
        if mode != "reuse":
            del self._by_refresh[refresh]
        if mode == "same" and token.refresh is not None:
            del self._by_refresh[token.refresh]
            token.refresh, token.refresh_until = refresh, old.refresh_until
            self._by_refresh[refresh] = token
        return token

    def by_access(self, access: str) -> Token | None:
        """The token behind a bearer, unless it has ended."""
        token = self._by_access.get(access)
        return None if token is None or _over(token.access_until) else token

    def revoke(self, value: str) -> bool:
        """Kills a token and the one beside it, by either of the two."""
        token = self._by_access.get(value) or self._by_refresh.get(value)
        if token is None:
            return False
        self._by_access.pop(token.access, None)
        self._by_refresh.pop(token.refresh or "", None)
        return True

    def expire(self, kind: TokenKind, username: str | None = None) -> int:
        """Ends tokens before their time and answers how many it looked at."""
        ended = [
            token
            for token in {*self._by_access.values(), *self._by_refresh.values()}
            if username in (None, token.user.username)
        ]
        for token in ended:
            if kind != "refresh":
                token.access_until = 0
            if kind != "access":
                token.refresh_until = 0
        return len(ended)

    def _keep(self, token: Token) -> None:
        self._by_access[token.access] = token
        if token.refresh is not None:
            self._by_refresh[token.refresh] = token
