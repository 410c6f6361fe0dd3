"""The Authorization header: `User u, Organization o, Element e` in any order; `Bearer t` for a login."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import Unauthorized

# A colon after the name is seen in one client ("Element: token"); values are base64 and hold no spaces.
_PART = re.compile(r"(user|organization|element|bearer)(?:\s*:\s*|\s+)(\S+)", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class Authorization:
    """The secrets of a request; None where the header does not carry one."""

    user: str | None = None
    organization: str | None = None
    element: str | None = None
    bearer: str | None = None

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """All of them, in one order."""
        return (self.user, self.organization, self.element, self.bearer)


def parse(header: str | None) -> Authorization:
    """Reads the header. Raises Unauthorized when it is missing, malformed or names a part twice."""
    if not header or not header.strip():
        raise Unauthorized("The Authorization header is missing; send 'User <secret>, Organization <secret>'")
    parts: dict[str, str] = {}
    for piece in header.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None or found.group(1).lower() in parts:
            raise Unauthorized(
                "The Authorization header is malformed; send 'User <secret>, Organization <secret>' "
                "or 'User <secret>, Element <token>'"
            )
        parts[found.group(1).lower()] = found.group(2)
    if "user" in parts and "bearer" in parts:
        raise Unauthorized(
            "The Authorization header names a User secret and a login's token; send one of them"
        )
    return Authorization(**parts)
