"""Whatever a client sends, the gateway answers as its own document says: no error of ours, no status and no
body that is not in it. A real process, asked over HTTP with what a fuzzer makes of the document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from conftest import ENCRYPTION_KEY
from hypothesis import HealthCheck, Phase, settings
from processes import PATIENCE, House, house
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

DOCUMENT = json.loads((Path(__file__).parents[2] / "openapi" / "gateway.json").read_text())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
"""The last one compares bodies."""

EXAMPLES = 5  # requests per operation

schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("contract")
    with house(folder, f"sqlite:///{folder}/gateway.db", ENCRYPTION_KEY) as made:
        made.serve("--no-workers")
        yield made


@pytest.fixture
def authorization(home: House) -> str:
    """All secrets, of a caller and of an account that is connected anew: what one operation does to the
    account or to the secrets spoils no other one."""
    if httpx.get(f"{home.gateway_url}/instances/count", headers=home.platform).status_code == 401:
        pytest.fail("an operation has ended the secrets of the caller")
    quiet: Any = {"event.notification.enabled": False}
    token = home.connect("box", **quiet)["token"]
    return f"{home.platform['Authorization']}, Element {token}"


@schema.exclude(path_regex=r"(/secret|/authentication)$", method=["PUT", "DELETE"]).parametrize()
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
def test_the_gateway_answers_as_it_is_documented(case: Any, home: House, authorization: str) -> None:
    base = home.gateway_url.removesuffix("/elements/api-v2")
    answer = case.call(
        base_url=base, headers={"Authorization": authorization}, allow_redirects=False, timeout=PATIENCE
    )
    if answer.status_code == 431:
        return  # a target of more than 64 KiB does not come past the server
    chosen = "fields" in (case.query or {})  # then whatever was not chosen is not there
    case.validate_response(answer, checks=CHECKS[:-1] if chosen else CHECKS)
