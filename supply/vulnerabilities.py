"""Asks an advisory service for the known vulnerabilities of everything that is locked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic

from locks import DEVELOPMENT, Release, releases
from packaging.version import Version
from pip_audit._service import (
    Dependency,
    OsvService,
    PyPIService,
    ResolvedDependency,
    ServiceError,
    VulnerabilityResult,
    VulnerabilityService,
)
from requests import RequestException

ACCEPTED: dict[str, str] = {}
"""Ids of vulnerabilities that do not concern the gateway, each with the reason."""

KNOWN_TO_BE_VULNERABLE = ResolvedDependency("django", Version("2.0"))
"""A mirror of the index that keeps no advisories knows nothing of this one, and is not believed."""

SECONDS = 10
"""Longest wait for one answer."""

SECONDS_IN_ALL = 60
"""Time after which no further question is asked."""


def main(services: Iterable[VulnerabilityService]) -> int:
    """Prints what is known to the first of the services that answers; 1 if there is anything, else 0."""
    locked, until = releases(DEVELOPMENT), monotonic() + SECONDS_IN_ALL
    for service in services:
        with suppress(RequestException, ServiceError):
            if service.query(KNOWN_TO_BE_VULNERABLE)[1]:
                return _told(found(service, locked, until), len(locked))
    print("vulnerabilities: skipped, no advisory service has answered everything in time")
    return 0


def found(service: VulnerabilityService, locked: Sequence[Release], until: float) -> list[str]:
    """A line per vulnerability, and per release that the service has never heard of, which it can only be
    when it was withdrawn. Raises what the service raises when it cannot answer, and ServiceError when that
    takes longer than `until`."""
    lines = []
    for release in locked:
        if monotonic() > until:
            raise ServiceError
        asked = ResolvedDependency(release.name, Version(release.version))
        lines += _lines(asked, *service.query(asked))
    return lines


def _lines(release: ResolvedDependency, answered: Dependency, holes: list[VulnerabilityResult]) -> list[str]:
    title = f"{release.name} {release.version}"
    if answered.is_skipped():
        return [f"{title}: unknown to the advisory service"]
    return [_line(title, hole) for hole in holes if not hole.has_any_id(set(ACCEPTED))]


def _line(title: str, hole: VulnerabilityResult) -> str:
    mended = ", ".join(str(version) for version in hole.fix_versions) or "no release"
    return f"{title}: {hole.id} (mended in {mended}): {hole.description}"


def _told(lines: list[str], count: int) -> int:
    print("\n".join(lines) or f"vulnerabilities: none is known of {count} releases")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main([PyPIService(timeout=SECONDS), OsvService(timeout=SECONDS)]))
