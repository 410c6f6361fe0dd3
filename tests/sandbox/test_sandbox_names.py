"""Names of files that are hard on URLs, in the fake Egnyte."""

import unicodedata
from urllib.parse import quote

import pytest
from acme import Acme

NFC = unicodedata.normalize("NFC", "é ü å.txt")
NFD = unicodedata.normalize("NFD", NFC)
NAMES = [
    "two  spaces",
    " leading and trailing ",
    "100%",
    "%41%2541",
    "a+b",
    "#1",
    "what?",
    "a&b=c;d",
    'it\'s "quoted"',
    "🎉👩‍👩‍👧.txt",
    "日本語.txt",
    NFC,
    NFD,
    ".hidden",
    "...",
    "x" * 255,
    "ü" * 255,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_as_it_was_sent(acme: Acme, name: str) -> None:
    folder, path = quote(f"/Shared/{name}"), quote(f"/Shared/{name}/{name}")
    made = acme.http.post(f"/pubapi/v1/fs{folder}", json={"action": "add_folder"})
    assert made.json()["path"] == f"/Shared/{name}"
    assert acme.http.post(f"/pubapi/v1/fs-content{path}", content=b"x").status_code == 200
    assert acme.http.get(f"/pubapi/v1/fs-content{path}").content == b"x"
    listed = acme.http.get(f"/pubapi/v1/fs{folder}").json()
    assert [(row["name"], row["path"]) for row in listed["files"]] == [(name, f"/Shared/{name}/{name}")]
    assert acme.http.delete(f"/pubapi/v1/fs{path}").status_code == 200
    assert acme.http.get(f"/pubapi/v1/fs{path}").status_code == 404


def test_composed_and_decomposed_letters_are_two_names(acme: Acme) -> None:
    for name in (NFC, NFD):
        acme.http.post(f"/pubapi/v1/fs-content/Shared/{quote(name)}", content=name.encode())
    assert acme.http.get(f"/pubapi/v1/fs-content/Shared/{quote(NFD)}").content == NFD.encode()
    assert acme.http.get("/pubapi/v1/fs/Shared").json()["total_count"] == 2


@pytest.mark.parametrize("name", ["%2E%2E", "%2E", "x" * 256])
def test_a_name_that_nothing_can_have_is_refused(acme: Acme, name: str) -> None:
    for path in (f"/Shared/{name}", f"/Shared/{name}/a.txt"):
        answers = [
            acme.http.get(f"/pubapi/v1/fs{path}"),
            acme.http.post(f"/pubapi/v1/fs{path}", json={"action": "add_folder"}),
            acme.http.post(f"/pubapi/v1/fs-content{path}", content=b"x"),
        ]
        assert [answer.status_code for answer in answers] == [400, 400, 400]
        assert answers[0].json()["errorMessage"].startswith("Invalid path")
    acme.change("upload", "/Shared/a.txt")
    move = {"action": "move", "destination": f"/Shared/{name.replace('%2E', '.')}"}
    assert acme.http.post("/pubapi/v1/fs/Shared/a.txt", json=move).status_code == 400


def test_a_folder_cannot_slip_into_itself_without_its_first_slash(acme: Acme) -> None:
    acme.change("folder", "/Shared/A")
    move = {"action": "move", "destination": "Shared//A/B"}
    assert acme.http.post("/pubapi/v1/fs/Shared/A", json=move).status_code == 403
    moved = acme.http.post("/pubapi/v1/fs/Shared/A", json={"action": "move", "destination": "Shared//B/"})
    assert moved.json()["path"] == "/Shared/B"
