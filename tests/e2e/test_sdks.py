"""The vendors' own SDKs, which have never heard of a gateway, through it: SDK -> gateway -> sandbox, each in
a process of its own. Nothing of an SDK is touched but its base URL."""

from __future__ import annotations

import hashlib
import io
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import egnyte
import httpx
import pytest
from box_sdk_gen import (
    BaseUrls,
    BoxAPIError,
    BoxClient,
    BoxDeveloperTokenAuth,
    CreateFolderParent,
    UploadFileAttributes,
    UploadFileAttributesParentField,
)
from box_sdk_gen.managers.events import GetEventsStreamType
from box_sdk_gen.managers.uploads import PreflightFileUploadCheckParent
from conftest import ENCRYPTION_KEY
from processes import House, house

SECONDS = 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("sdks")
    with house(folder, f"sqlite:///{folder}/gateway.db", ENCRYPTION_KEY) as made:
        made.serve("--no-workers")
        yield made


@pytest.fixture
def box(home: House) -> BoxClient:
    httpx.post(f"{home.sandbox_url}/control/reset").raise_for_status()
    instance = home.connect("box")
    native = f"{home.gateway_url}/native"
    urls = BaseUrls(base_url=native, upload_url=f"{native}/upload", oauth_2_url=native)
    return BoxClient(auth=BoxDeveloperTokenAuth(token=instance["token"])).with_custom_base_urls(urls)


@pytest.fixture
def egnyte_client(home: House) -> Any:
    httpx.post(f"{home.sandbox_url}/control/reset").raise_for_status()
    instance = home.connect()
    client = egnyte.EgnyteClient({"domain": "127.0.0.1", "access_token": instance["token"]})
    client._url_prefix = f"{home.gateway_url}/native/"
    return client


def upload(client: BoxClient, name: str, content: bytes = b"hello") -> Any:
    attributes = UploadFileAttributes(name=name, parent=UploadFileAttributesParentField(id="0"))
    files = client.uploads.upload_file(attributes, io.BytesIO(content))
    assert files.entries
    return files.entries[0]


def read(client: BoxClient, file_id: str, **more: Any) -> bytes:
    stream = client.downloads.download_file(file_id, **more)
    assert stream is not None
    return stream.read()


def code_of(error: BoxAPIError) -> str:
    """Box's own word for what went wrong."""
    return str((error.response_info.body or {}).get("code"))


def box_settings(home: House, **settings: Any) -> None:
    httpx.patch(f"{home.sandbox_url}/control/box/settings", json=settings).raise_for_status()


def test_box_files_go_up_and_down(box: BoxClient) -> None:
    assert box.users.get_user_me().login == "ann@example.com"
    file = upload(box, "Füße & co.txt", b"0123456789")
    assert read(box, file.id) == b"0123456789"
    assert read(box, file.id, range="bytes=2-4") == b"234"
    folder = box.folders.create_folder("Docs", CreateFolderParent(id="0"))
    items = box.folders.get_folder_items("0").entries or []
    assert {item.name for item in items} == {"Füße & co.txt", "Docs"}
    box.folders.delete_folder_by_id(folder.id, recursive=True)
    box.files.delete_file_by_id(file.id)
    with pytest.raises(BoxAPIError) as gone:
        box.files.get_file_by_id(file.id)
    assert gone.value.response_info.status_code == 404
    assert code_of(gone.value) == "trashed"


def test_box_uploads_are_checked_before_they_come(box: BoxClient) -> None:
    upload(box, "a.txt")
    parent = PreflightFileUploadCheckParent(id="0")
    welcome = box.uploads.preflight_file_upload_check(name="b.txt", size=5, parent=parent)
    assert "/native/" in str(welcome.upload_url)
    with pytest.raises(BoxAPIError) as taken:
        box.uploads.preflight_file_upload_check(name="a.txt", size=5, parent=parent)
    assert code_of(taken.value) == "item_name_in_use"


def test_a_large_box_file_goes_up_in_parts_through_the_gateway(box: BoxClient, home: House) -> None:
    box_settings(home, upload_session_minimum=1, upload_part_size=400_000)
    content = bytes(range(256)) * 8000
    file = box.chunked_uploads.upload_big_file(io.BytesIO(content), "big.bin", len(content), "0")
    assert file.sha_1 == hashlib.sha1(content, usedforsecurity=False).hexdigest()
    assert read(box, file.id) == content
    direct = [row for row in httpx.get(f"{home.sandbox_url}/control/requests").json()["requests"]
              if "upload_sessions" in row["path"]]  # fmt: skip
    assert len(direct) >= 7


@pytest.mark.parametrize("kind", list(GetEventsStreamType))
def test_every_box_stream_is_read(box: BoxClient, kind: GetEventsStreamType) -> None:
    start = box.events.get_events(stream_type=kind, stream_position="now").next_stream_position
    upload(box, "a.txt")
    page = box.events.get_events(stream_type=kind, stream_position=str(start))
    assert page.entries
    assert page.next_stream_position


def test_box_long_polling_stays_with_the_gateway(box: BoxClient) -> None:
    server = (box.events.get_events_with_long_polling().entries or [])[0]
    assert "/native/-/" in str(server.url)
    found: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for event in box.events.get_event_stream():
            found.put(str(event.event_type))

    threading.Thread(target=listen, daemon=True).start()
    for attempt in range(100):  # until the stream has found its beginning
        upload(box, f"{attempt}.txt")
        try:
            assert found.get(timeout=0.5)
            return
        except queue.Empty:
            continue
    raise AssertionError("no event came")


def test_an_ended_box_token_is_replaced_unseen(box: BoxClient, home: House) -> None:
    upload(box, "a.txt")
    httpx.post(f"{home.sandbox_url}/control/box/tokens/expire", json={}).raise_for_status()
    assert box.users.get_user_me().id


def test_box_throttling_is_waited_out(box: BoxClient, home: House) -> None:
    fault = {"kind": "429", "retry_after": 0.2, "times": 1, "path": "/box/2.0/users/me"}
    httpx.post(f"{home.sandbox_url}/control/box/faults", json=fault).raise_for_status()
    assert box.users.get_user_me().id


def test_egnyte_files_events_and_links_work(egnyte_client: Any) -> None:
    client = egnyte_client
    assert client.user_info["username"] == "jsmith"
    stream = client.events.filter(folder="/Shared")
    assert stream.poll() == ()
    folder = client.folder("/Shared/Grüße & more").create()
    file = client.file("/Shared/Grüße & more/a b.txt")
    file.upload(b"0123456789")
    assert file.download().read() == b"0123456789"
    assert file.download((1, 3)).read() == b"123"
    assert [item.name for item in folder.list().files] == ["a b.txt"]
    assert {event.data["target_path"] for event in stream.poll(count=10)} == {folder.path, file.path}
    link = file.link("anyone")[0]
    assert client.links.get(link.id).path == file.path
    assert client.search.files("a b")[0].path == file.path
    note = file.add_note("look")
    assert [found.id for found in file.get_notes()] == [note.id]
    copy = file.copy("/Shared/b.txt").move("/Shared/c.txt")
    assert copy.download().read() == b"0123456789"
    folder.delete()
    with pytest.raises(egnyte.exc.NotFound):
        file.check()


def test_a_large_egnyte_file_goes_up_in_chunks(egnyte_client: Any) -> None:
    file = egnyte_client.file("/Shared/big.bin")
    file._upload_chunk_size = 3_000_000
    content = bytes(range(256)) * 40_000
    file.upload(io.BytesIO(content))
    assert file.download().read() == content


def test_the_snippet_of_the_readme_reaches_box(home: House) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    (snippet,) = [
        text for text in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "BoxClient" in text
    ]
    token = home.connect("box")["token"]
    names: dict[str, Any] = {}
    here = snippet.replace("http://127.0.0.1:8080/elements/api-v2", home.gateway_url)
    exec(here.replace("<element token>", token), names)  # noqa: S102
    assert names["box"].users.get_user_me().login == "ann@example.com"
