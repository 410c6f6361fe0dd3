"""Secrets in the words of others, in all the spellings that those have for them."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

import httpx
import pytest

from app import covering

SECRETS = ["ab+cd/ef==ghijkl", 'p w" 50% \\n /', "sécret-pässwört", "€uro 😀 and \\\\ more", "plain_1234.~"]


def lowered(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def spellings(secret: str) -> list[str]:
    plain = secret.encode()
    in_url, in_json = quote(secret, safe=""), json.dumps(secret)[1:-1]
    return [
        *(secret, in_url, lowered(in_url), quote(secret), quote_plus(secret), in_json),
        *(quote(in_url, safe=""), lowered(quote(quote_plus(secret))), quote(in_json), quote(quote(in_url))),
        *(json.dumps(in_json)[1:-1], secret.replace("/", "\\/"), plain.decode("latin-1")),
        *(base64.b64encode(plain).decode(), lowered(quote(base64.b64encode(plain), safe=""))),
        in_json.replace("+", "\\u002b").replace("/", "\\u002F").replace("=", "\\u003d"),
    ]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_covered_however_it_is_spelled(secret: str) -> None:
    for spelled in spellings(secret):
        text = covering.covered(f"it was <{spelled}>, wasn't it", [secret])
        assert text.rstrip("=") in {
            f"it was <{covering.MASK}{end}>, wasn't it" for end in ("", "=", "==", "%3d", "%3d%3d")
        }, spelled


def test_what_is_no_secret_is_not_covered() -> None:
    assert (
        covering.covered("ab cd/ef==ghijkl short", ["ab+cd/ef==ghijkl", "short"]) == "ab cd/ef==ghijkl short"
    )


def test_a_secret_of_a_form_is_found_in_the_bytes_of_an_answer() -> None:
    request = httpx.Request("POST", "https://vendor/token", data={"client_secret": "sécret-pässwört"})
    said = "not sécret-pässwört".encode().decode("latin-1")
    assert covering.covered(said, covering.sent_with(request)) == f"not {covering.MASK}"


def test_a_secret_within_json_is_found_and_nothing_else_of_it() -> None:
    sent = {"url": "https://gateway", "more": [{"authHeaderValue": "a-secret"}], "token": None}
    assert covering.sent_with(httpx.Request("POST", "https://vendor", json=sent)) == {"a-secret"}
