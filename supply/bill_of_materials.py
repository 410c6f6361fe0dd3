"""Writes what the gateway is made of as CycloneDX JSON, the same text for the same lock."""

from __future__ import annotations

import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from locks import ROOT, RUNTIME, Release, releases
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import __version__

NAMESPACE = uuid.UUID("6f1c6c1e-6a0f-4d0e-9a53-5b7c0a4f3a11")
"""With the lock's text it makes the serial number: another lock, another number."""

NAMED = {"httpx-aiohttp": "BSD-3-Clause"}
"""Licences that are given as a whole text instead of a name; pyproject.toml says for which releases."""


def bill() -> Bom:
    """The gateway and each release of the runtime lock, with licences, hashes and who needs whom.

    Raises LookupError where what is installed is not what the lock says.
    """
    parts = {release.name: _component(release) for release in releases(RUNTIME)}
    gateway = Component(
        name="elements-gateway",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="elements-gateway",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )
    made = Bom(components=parts.values(), serial_number=uuid.uuid5(NAMESPACE, RUNTIME.read_text()))
    made.metadata.component = gateway
    made.metadata.timestamp = None  # type: ignore[assignment] # a time would make each text another
    needed = needs(declared())
    made.register_dependency(gateway, [parts[name] for name in needed.pop("")])
    for name, others in needed.items():
        made.register_dependency(parts[name], [parts[other] for other in others])
    return made


def declared() -> list[Requirement]:
    """What pyproject.toml says that the gateway needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def needs(roots: Iterable[Requirement]) -> dict[str, set[str]]:
    """Who needs whom on this machine, everything that the roots lead to; theirs stands under ""."""
    edges: dict[str, set[str]] = {"": set()}
    seen: set[tuple[str, str]] = set()
    waiting = [("", root) for root in roots]
    while waiting:
        owner, requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        edges[owner].add(name)
        edges.setdefault(name, set())
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(name, child) for child in _children(name, extra)]
    return edges


def _children(name: str, extra: str) -> Iterator[Requirement]:
    for line in metadata.requires(name) or []:
        child = Requirement(line)
        if child.marker is None or child.marker.evaluate({"extra": extra}):
            yield child


def _component(release: Release) -> Component:
    installed = metadata.distribution(release.name)
    if installed.version != release.version:
        raise LookupError(f"{release.name} {installed.version} is installed, {release.version} is locked")
    purl = PackageURL("pypi", name=release.name, version=release.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=value) for value in release.hashes]
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),
        comment="the hash of each file of this release",
        hashes=hashes,
    )
    return Component(
        name=release.name,
        version=release.version,
        purl=purl,
        bom_ref=str(purl),
        licenses=_licences(installed),
        external_references=[files],
    )


def _licences(installed: metadata.Distribution) -> list[License]:
    """What the release says of itself: an expression, else classifiers, else a name or a text."""
    said = installed.metadata
    classified = [line.split(" :: ")[-1] for line in said.get_all("Classifier") or [] if "License ::" in line]
    names = [said["License-Expression"]] if said["License-Expression"] else classified or [said["License"]]
    known = NAMED.get(installed.name)
    return [LicenseFactory().make_from_string(known or name) for name in names]


def main(target: Path) -> None:
    """Writes the bill. Raises ValueError if it is not as CycloneDX's schema has it."""
    made = bill()
    text = JsonV1Dot6(made).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        raise ValueError(f"not CycloneDX: {wrong.data.message}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    print(f"{target}: {len(made.components)} releases")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
