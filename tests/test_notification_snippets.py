"""The snippets of docs/notifications.md, run as they stand there against what the gateway signs."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.delivery import signing

PAGE = (Path(__file__).parent.parent / "docs" / "notifications.md").read_text()
BODY = '{"id":"7","message":{"ü":"€"}}'.encode()
FIRST, SECOND = "first key", "whsec_" + base64.b64encode(b"sixteen bytes!!!").decode()
ODD = "whsec_YW=I"

NODE = """
const { body, calls } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const answer = ([text, header, keys]) => {
  const bytes = Buffer.from(text, "base64");
  return [genuine(bytes, header, keys), genuineAndFresh(bytes, header, keys)];
};
console.log(JSON.stringify(calls.map(answer)));
"""
JAVA = """
class Check {
    public static void main(String[] lines) {
        StringBuilder found = new StringBuilder();
        for (String line : lines) {
            String[] parts = line.split("\\n");
            java.util.Map<String, String> header = new java.util.HashMap<>();
            java.util.List<String> keys = new java.util.ArrayList<>();
            for (int at = 1; at < parts.length; at++) {
                String[] pair = parts[at].split("\\t");
                if (pair[0].equals("key")) keys.add(pair[1]); else header.put(pair[0], pair[1]);
            }
            byte[] body = java.util.Base64.getDecoder().decode(parts[0]);
            found.append(found.length() == 0 ? "" : ",").append("[");
            found.append(Notifications.genuine(body, header, keys)).append(",");
            found.append(Notifications.genuineAndFresh(body, header, keys, 300)).append("]");
        }
        System.out.println("[" + found + "]");
    }
}
"""
PYTHON = """
import json, sys
def answer(text, header, keys):
    body = base64.b64decode(text)
    return [genuine(body, header, keys), genuine_and_fresh(body, header, keys)]
print(json.dumps([answer(*call) for call in json.load(sys.stdin)["calls"]]))
"""

Call = tuple[str, dict[str, str], list[str]]


def snippet(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def call(
    body: bytes,
    accepted: list[str],
    *,
    keys: tuple[str, ...] = (FIRST, SECOND),
    age: int = 0,
    header: dict[str, str] | None = None,
) -> Call:
    """What a receiver that accepts some keys gets: `body`, and the headers that BODY is sent with."""
    sent = int(time.time()) - age
    headers = signing.headers(BODY, notification_id=7, keys=keys, timestamp=sent)
    found = {name.lower(): value for name, value in headers.items()} | (header or {})
    return base64.b64encode(body).decode(), found, accepted


def cases() -> dict[str, tuple[Call, list[bool]]]:
    return {
        "the first key": (call(BODY, [FIRST]), [True, True]),
        "the second key": (call(BODY, [SECOND]), [True, True]),
        "either of two keys": (call(BODY, ["old", SECOND]), [True, True]),
        "one key only": (call(BODY, [FIRST], keys=(FIRST,)), [True, True]),
        "a body that was changed": (call(BODY + b" ", [FIRST, SECOND]), [False, False]),
        "another key": (call(BODY, ["wrong"]), [False, False]),
        "no key": (call(BODY, []), [False, False]),
        "no signature": (call(BODY, [FIRST], keys=()), [False, False]),
        "a recorded call": (call(BODY, [FIRST], age=600), [True, False]),
        "another time": (
            call(BODY, [FIRST], header={"webhook-timestamp": str(int(time.time()) + 9)}),
            [True, False],
        ),
        "no time": (call(BODY, [FIRST], header={"webhook-timestamp": "soon"}), [True, False]),
        **{
            f"an odd time {sent[:9]}": (
                call(BODY, [FIRST], header={"webhook-timestamp": sent}),
                [True, False],
            )
            for sent in ("9" * 400, "9" * 5000, "\u0661", "-1", "1e3")
        },
        "a key that is no base64": (call(BODY, [ODD], keys=(ODD,)), [True, True]),
        "another key that is no base64": (call(BODY, [ODD]), [False, False]),
        "another id": (call(BODY, [FIRST], header={"webhook-id": "msg_8"}), [True, False]),
    }


def run(command: list[str], given: str = "") -> Any:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def python(folder: Path, calls: list[Call]) -> Any:
    script = folder / "check.py"
    script.write_text(snippet("python") + PYTHON)
    return run([sys.executable, str(script)], json.dumps({"calls": calls}))


def node(folder: Path, calls: list[Call]) -> Any:
    script = folder / "check.js"
    script.write_text(snippet("javascript") + NODE)
    return run(["node", str(script)], json.dumps({"calls": calls}))


def java(folder: Path, calls: list[Call]) -> Any:
    script = folder / "Check.java"
    # A source that is run without compiling begins with the class that has `main`.
    imports, _, rest = snippet("java").partition("final class")
    script.write_text(f"{imports}{JAVA}\nfinal class{rest}")
    lines = [
        "\n".join(
            [text, *(f"{name}\t{value}" for name, value in header.items()), *(f"key\t{key}" for key in keys)]
        )
        for text, header, keys in calls
    ]
    return run(["java", str(script), *lines])


@pytest.mark.parametrize(
    ("runtime", "check"),
    [(sys.executable, python), ("node", node), ("java", java)],
    ids=["python", "node", "java"],
)
def test_a_snippet_knows_what_is_genuine(
    tmp_path: Path, runtime: str, check: Callable[[Path, list[Call]], Any]
) -> None:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not on this machine")
    expected = {name: answer for name, (_, answer) in cases().items()}
    found = check(tmp_path, [made for made, _ in cases().values()])
    assert dict(zip(expected, found, strict=True)) == expected
