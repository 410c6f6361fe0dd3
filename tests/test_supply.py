"""What the gateway is made of: locked with hashes, listed whole, of known licences, without known holes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bill_of_materials
import locks
import pytest
import vulnerabilities
from locks import Release
from packaging.version import Version
from pip_audit._service import OsvService, ServiceError, SkippedDependency, VulnerabilityResult

ROOT = Path(__file__).parent.parent
SKIPPED = "vulnerabilities: skipped, no advisory service has answered everything in time\n"
HOLE = VulnerabilityResult.create(
    ids=["PYSEC-1"], description="anyone may enter", fix_versions=[Version("9.9")], published=None
)


class Advisories:
    """An advisory service that knows of the holes of some releases, and of no release called missing."""

    def __init__(self, holes: Mapping[str, list[Any]]) -> None:
        self._holes = holes

    def query(self, asked: Any) -> tuple[Any, list[Any]]:
        if asked.name == "missing":
            return SkippedDependency(name=asked.name, skip_reason="404"), []
        return asked, self._holes.get(asked.name, [])


class Broken(Advisories):
    """One that fails at the second question."""

    def query(self, asked: Any) -> tuple[Any, list[Any]]:
        if asked.name == vulnerabilities.KNOWN_TO_BE_VULNERABLE.name:
            return asked, [HOLE]
        raise ServiceError


@pytest.mark.parametrize("lock", [locks.RUNTIME, locks.DEVELOPMENT], ids=["runtime", "development"])
def test_every_locked_release_has_hashes_and_no_registry_is_named(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert text.count("==") == len(locks.releases(lock))
    assert all(release.hashes for release in locks.releases(lock))
    assert text.count("--") == text.count("--hash=sha256:")


def test_what_runs_is_what_is_tested() -> None:
    assert set(locks.releases(locks.RUNTIME)) <= set(locks.releases(locks.DEVELOPMENT))


def test_the_bill_of_materials_holds_what_the_lock_says_and_the_gateway_needs(tmp_path: Path) -> None:
    bill_of_materials.main(tmp_path / "sbom.json")
    text = (tmp_path / "sbom.json").read_text()
    made = json.loads(text)
    locked = {(release.name, release.version) for release in locks.releases(locks.RUNTIME)}
    assert {(part["name"], part["version"]) for part in made["components"]} == locked
    assert {name for name, _ in locked} == set(bill_of_materials.needs(bill_of_materials.declared())) - {""}
    assert all(part["licenses"] and part["externalReferences"][0]["hashes"] for part in made["components"])
    assert "timestamp" not in made["metadata"]
    assert str(ROOT) not in text
    bill_of_materials.main(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_a_bill_of_something_else_than_what_is_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_of_materials, "releases", lambda _: [Release("aiohttp", "1.0", ())])
    with pytest.raises(LookupError, match=r"aiohttp \S+ is installed, 1\.0 is locked"):
        bill_of_materials.bill()


@pytest.mark.parametrize(("extra", "code"), [((), 0), (("psycopg",), 1)], ids=["what runs", "LGPL"])
def test_a_licence_that_is_not_allowed_is_refused_by_the_name_of_its_owner(
    extra: tuple[str, ...], code: int
) -> None:
    names = [release.name for release in locks.releases(locks.RUNTIME)]
    command = [str(Path(sys.executable).with_name("pip-licenses")), "--packages", *names, *extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert all(name in done.stderr for name in extra)


def test_a_licence_is_named_for_each_release_whose_own_words_are_not_understood() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pip-licenses"]
    assert {item.partition(":")[0] for item in settings["ignore-packages"]} == bill_of_materials.NAMED.keys()


def test_a_known_vulnerability_fails_and_names_the_release_that_mends_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert vulnerabilities.main([Advisories({"django": [HOLE], "aiohttp": [HOLE]})]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("aiohttp ")
    assert line.endswith(": PYSEC-1 (mended in 9.9): anyone may enter")


def test_a_release_that_was_withdrawn_fails() -> None:
    found = vulnerabilities.found(Advisories({}), [Release("missing", "1.0", ())], math.inf)
    assert found == ["missing 1.0: unknown to the advisory service"]


def test_an_accepted_vulnerability_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vulnerabilities.ACCEPTED, "PYSEC-1", "that part is not used")
    assert vulnerabilities.main([Advisories({"django": [HOLE], "aiohttp": [HOLE]})]) == 0


@pytest.mark.parametrize(
    "service",
    [Advisories({}), Broken({}), OsvService(osv_url="http://127.0.0.1:1", timeout=1)],
    ids=["knows no advisories", "breaks off", "refuses connections"],
)
def test_a_service_that_cannot_answer_is_said_in_one_line_and_fails_nothing(
    service: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vulnerabilities.main([service]) == 0
    assert capsys.readouterr().out == SKIPPED


def test_services_that_answer_slowly_are_not_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = list[Any]()

    class Slow(Advisories):
        def query(self, release: Any) -> tuple[Any, list[Any]]:
            asked.append(release)
            return super().query(release)

    monkeypatch.setattr("vulnerabilities.monotonic", lambda: len(asked) * 10.0)
    assert vulnerabilities.main([Slow({"django": [HOLE]}), Slow({"django": [HOLE]})]) == 0
    assert capsys.readouterr().out == SKIPPED
    assert len(asked) < 10


def test_the_next_service_is_asked_when_one_cannot_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert vulnerabilities.main([Advisories({}), Advisories({"django": [HOLE]})]) == 0
    assert "none is known" in capsys.readouterr().out
