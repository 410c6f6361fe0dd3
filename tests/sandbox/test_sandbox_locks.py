"""Locks on the files of the fake Egnyte."""

import time
from typing import Any

import httpx
import pytest
from acme import Acme

FILE = "/pubapi/v1/fs/Shared/A/a.txt"
CONTENT = "/pubapi/v1/fs-content/Shared/A/a.txt"


@pytest.fixture
def locked(acme: Acme) -> Acme:
    acme.change("upload", "/Shared/A/a.txt", content="one")
    acme.change("upload", "/Shared/A/a.txt", content="two")
    taken = acme.http.post(FILE, json={"action": "lock", "lock_token": "mine", "lock_timeout": 900})
    assert taken.json() == {"lock_token": "mine", "timeout": 900}
    return acme


@pytest.fixture
def alex(acme: Acme) -> dict[str, str]:
    return {"Authorization": f"Bearer {acme.token('adoe')['access_token']}"}


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and bool(answer.json()["errorMessage"])


def test_a_locked_file_is_closed_to_others(locked: Acme, alex: dict[str, str]) -> None:
    http = locked.http
    first = http.get(FILE).json()["versions"][0]["entry_id"]
    move = {"action": "move", "destination": "/Shared/b.txt"}
    assert refused(http.post(CONTENT, content=b"x", headers=alex))
    assert refused(http.post(FILE, json=move, headers=alex))
    assert refused(http.delete(FILE, headers=alex))
    assert refused(http.delete(FILE, params={"entry_id": first}, headers=alex))
    assert refused(http.post(FILE, json={"action": "unlock", "lock_token": "mine"}, headers=alex))
    assert refused(http.post(FILE, json={"action": "lock"}, headers=alex))
    assert http.get(CONTENT, headers=alex).content == b"two"
    group_id = http.get(FILE).json()["group_id"]
    assert refused(http.delete(f"/pubapi/v1/fs/ids/file/{group_id}", headers=alex))
    assert refused(http.post(f"/pubapi/v1/fs/ids/file/{group_id}", json=move, headers=alex))


def test_the_last_chunk_of_a_locked_file_is_refused(locked: Acme, alex: dict[str, str]) -> None:
    headers = alex | {"X-Egnyte-Chunk-Num": "1", "X-Egnyte-Last-Chunk": "true"}
    url = "/pubapi/v1/fs-content-chunked/Shared/A/a.txt"
    assert refused(locked.http.post(url, content=b"x", headers=headers))
    assert locked.http.get(CONTENT).content == b"two"


def test_a_folder_stays_while_somebody_has_locked_a_file_in_it(locked: Acme, alex: dict[str, str]) -> None:
    move = {"action": "move", "destination": "/Shared/B"}
    assert refused(locked.http.post("/pubapi/v1/fs/Shared/A", json=move, headers=alex))
    assert refused(locked.http.delete("/pubapi/v1/fs/Shared/A", headers=alex))
    assert locked.http.post("/pubapi/v1/fs/Shared/A", json=move).status_code == 200


def test_a_copy_of_a_locked_file_is_open(locked: Acme, alex: dict[str, str]) -> None:
    copy = {"action": "copy", "destination": "/Shared/b.txt"}
    assert locked.http.post(FILE, json=copy, headers=alex).status_code == 200
    assert locked.http.delete("/pubapi/v1/fs/Shared/b.txt", headers=alex).status_code == 200


def test_the_owner_writes_on_and_unlocks_with_the_token(locked: Acme, alex: dict[str, str]) -> None:
    assert locked.http.post(CONTENT, content=b"three").status_code == 200
    assert refused(locked.http.post(FILE, json={"action": "unlock", "lock_token": "wrong"}))
    assert refused(locked.http.post(FILE, json={"action": "unlock"}))
    assert locked.http.post(FILE, json={"action": "unlock", "lock_token": "mine"}).status_code == 200
    assert locked.http.post(CONTENT, content=b"four", headers=alex).status_code == 200


def test_a_lock_is_shown_on_request(locked: Acme) -> None:
    owner = {
        "owner_id": 121,
        "first_name": "Jane",
        "last_name": "Smith",
        "email": "jsmith@example.com",
    }
    params = {"include_locks": "true"}
    for row in (
        locked.http.get(FILE, params=params).json(),
        locked.http.get("/pubapi/v1/fs/Shared/A", params=params).json()["files"][0],
    ):
        assert (row["locked"], row["lock_info"]) == (True, owner)
    assert "lock_info" not in locked.http.get(FILE).json()


def test_a_lock_ends_by_itself_unless_it_is_prolonged(locked: Acme, alex: dict[str, str]) -> None:
    lock: dict[str, Any] = {"action": "lock", "lock_token": "mine"}
    for seconds in (1, 900):
        answer = locked.http.post(FILE, json=lock | {"lock_timeout": seconds})
        assert answer.json() == {"lock_token": "mine", "timeout": seconds}
    time.sleep(1.1)
    assert refused(locked.http.delete(FILE, headers=alex))
    locked.http.post(FILE, json=lock | {"lock_timeout": 1}).raise_for_status()
    time.sleep(1.1)
    shown = locked.http.get(FILE, params={"include_locks": "true"}).json()
    assert shown["locked"] is False
    assert "lock_info" not in shown
    assert locked.http.post(FILE, json={"action": "lock"}, headers=alex).json()["timeout"] == 3600


@pytest.mark.parametrize("seconds", [0, -1, "soon"])
def test_a_lock_has_to_last(acme: Acme, seconds: Any) -> None:
    acme.change("upload", "/Shared/A/a.txt")
    assert acme.http.post(FILE, json={"action": "lock", "lock_timeout": seconds}).status_code == 400
