"""Egnyte's own Python SDK, which has never heard of the sandbox, works against it."""

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from acme import Acme
from egnyte import EgnyteClient, base, exc

# The SDK is from the days of Python 2 and leaves sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def client(acme: Acme) -> Iterator[Any]:
    client = EgnyteClient({"domain": "127.0.0.1", "access_token": acme.token()["access_token"]})
    client._url_prefix = f"{acme.url}/"
    yield client
    client.close()


def test_a_password_becomes_a_token(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = base.Session.__init__

    def local(self: Any, config: Any = None) -> None:
        plain(self, config)
        self._url_prefix = f"{acme.url}/"

    monkeypatch.setattr(base.Session, "__init__", local)
    # The helper changes this global, and every later request of the process with it.
    monkeypatch.setattr(base, "JSON_HEADERS", dict(base.JSON_HEADERS))
    config = {"domain": "127.0.0.1", "api_key": "sandbox-client", "login": "jsmith", "password": "sandbox"}
    token = base.get_access_token(config)
    client = EgnyteClient({"domain": "127.0.0.1", "access_token": token})
    assert client.user_info["username"] == "jsmith"
    assert base.JSON_HEADERS["content-type"] == "application/x-www-form-urlencoded"
    client.folder("/Shared/after the token").create(ignore_if_exists=False)
    client.close()


def test_folders_are_made_listed_and_deleted(client: Any) -> None:
    folder = client.folder("/Shared/Documents/Ünï &co")
    folder.create()
    folder.create(ignore_if_exists=True)
    with pytest.raises(exc.InsufficientPermissions):
        folder.create(ignore_if_exists=False)
    folder.file("a #1.txt").upload(b"hello")
    parent = client.folder("/Shared/Documents")
    parent.list()
    assert [found.name for found in parent.folders] == ["Ünï &co"]
    assert client.get("/Shared/Documents/Ünï &co").files[0].name == "a #1.txt"
    folder.delete()
    with pytest.raises(exc.NotFound):
        folder.check()


def test_files_go_up_and_come_down_whole_and_in_part(client: Any) -> None:
    file = client.file("/Shared/a b.txt")
    file.upload(b"hello world")
    assert file.download().read() == b"hello world"
    assert file.download((6, 10)).read() == b"world"
    assert len(file.download()) == 11
    assert file.size == 11
    file.upload(b"again")
    assert client.file("/Shared/a b.txt").num_versions == 2


def test_a_large_file_goes_up_in_chunks(client: Any) -> None:
    file = client.file("/Shared/big.bin")
    file._upload_chunk_size = 4
    steps: list[int] = []
    file.upload(io.BytesIO(b"0123456789"), progress_callback=lambda _file, _size, done: steps.append(done))
    assert steps == [4, 8, 12]
    assert file.download().read() == b"0123456789"
    assert file.checksum.startswith("2-3-4-")


def test_files_are_copied_moved_and_deleted(client: Any) -> None:
    file = client.file("/Shared/a.txt")
    file.upload(b"x")
    copy = file.copy("/Shared/b.txt")
    moved = copy.move("/Shared/New/c.txt")
    assert moved.download().read() == b"x"
    with pytest.raises(exc.NotFound):
        client.file("/Shared/b.txt").check()
    with pytest.raises(exc.DuplicateRecordExists):
        file.move("/Shared/New/c.txt")
    file.delete()
    with pytest.raises(exc.NotFound):
        file.check()


def test_notes_are_written_and_read(client: Any) -> None:
    file = client.file("/Shared/a.txt")
    file.upload(b"x")
    note = file.add_note("look here")
    assert [found.message for found in file.get_notes()] == ["look here"]
    assert [found.id for found in client.folder("/Shared").get_notes()] == [note.id]
    assert client.notes.list(start_time="2999-01-01") == []
    assert note.get_file().path == "/Shared/a.txt"
    note.delete()
    assert file.get_notes() == []


def test_links_are_made_and_ended(client: Any) -> None:
    file = client.file("/Shared/a.txt")
    file.upload(b"x")
    link = file.link("anyone", recipients=["a@example.com"], expiry_clicks=3)[0]
    assert link.url.endswith(link.id)
    listed = client.links.list(path="/Shared/a.txt")
    assert (listed.total_count, listed[0].accessibility) == (1, "anyone")
    client.links.get(link.id).delete()
    assert client.links.list() == []


def test_search_finds_files(client: Any) -> None:
    client.file("/Shared/A/report.txt").upload(b"the numbers")
    client.file("/Shared/B/other.txt").upload(b"nothing")
    assert [match.path for match in client.search.files("repo*")] == ["/Shared/A/report.txt"]
    assert client.search.files("numbers", folder="/Shared/B") == []
    assert client.search.files("txt", modified_after="2999-01-01") == []
    assert client.search.files("other")[0].file().size == 7


def test_events_are_polled(acme: Acme, client: Any) -> None:
    stream = client.events.filter(suppress="app", folder="/Shared")
    assert stream.poll() == ()
    client.folder("/Shared/own").create()
    acme.change("upload", "/Shared/a.txt", user="adoe")
    acme.change("upload", "/Private/b.txt", user="adoe")
    found = stream.poll(count=5)
    assert [event.data["target_path"] for event in found] == ["/Shared/a.txt"]
    assert found[0].user().userName == "adoe"
    assert stream.poll() == ()


def test_events_are_filtered_by_type_and_listed_from_an_id(acme: Acme, client: Any) -> None:
    acme.change("upload", "/Shared/a.txt")
    acme.change("note", "/Shared/a.txt", content="n")
    stream = client.events.filter(start_id=client.events.oldest_event_id - 1)
    stream.types = "note|permission_change"
    assert [event.type for event in stream.list(None)] == ["note"]
    first = next(iter(client.events.filter(start_id=0)))
    assert (first.type, first.action) == ("file_system", "create")


def test_users_and_permissions_are_known(client: Any) -> None:
    assert client.users.by_username("adoe").id == 122
    assert client.users.by_email("nobody@example.com") is None
    folder = client.folder("/Shared/P").create()
    folder.set_permissions("Viewer", users=["adoe"], groups=["staff"])
    granted = folder.get_permissions()
    assert granted.user_to_permission == {"adoe": "Viewer"}
    assert granted.group_to_permission == {"staff": "Viewer"}
    assert folder.get_effective_permissions("adoe") == "Viewer"
    assert folder.get_effective_permissions("jsmith") == "Owner"
    client.impersonate("adoe")
    assert client.user_info["username"] == "adoe"


def test_the_sdk_waits_when_it_calls_too_often(acme: Acme, client: Any) -> None:
    acme.fault("mashery_qps", times=2, retry_after=0.1)
    began = time.monotonic()
    assert client.user_info["first_name"] == "Jane"
    assert time.monotonic() - began >= 0.2


def test_the_sdk_stays_below_a_real_limit_by_waiting(acme: Acme, client: Any) -> None:
    acme.configure(qps=3)
    assert {client.user_info["id"] for _ in range(5)} == {121}


def test_an_ended_token_is_reported(acme: Acme, client: Any) -> None:
    acme.control("tokens/expire")
    with pytest.raises(exc.NotAuthorized):
        client.folder("/Shared").list()
