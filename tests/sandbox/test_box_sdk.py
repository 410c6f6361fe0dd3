"""Box's own Python SDK, which has never heard of the sandbox, works against it."""

import io
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from box_account import APP, ROOT, Box
from box_sdk_gen import (
    BaseUrls,
    BoxAPIError,
    BoxClient,
    BoxDeveloperTokenAuth,
    BoxOAuth,
    CreateFolderParent,
    NetworkSession,
    OAuthConfig,
    UploadFileAttributes,
    UploadFileAttributesParentField,
)
from box_sdk_gen.internal.null_value import null
from box_sdk_gen.managers.comments import CreateCommentItem, CreateCommentItemTypeField
from box_sdk_gen.managers.events import GetEventsStreamType
from box_sdk_gen.managers.file_metadata import (
    CreateFileMetadataByIdScope,
    DeleteFileMetadataByIdScope,
    UpdateFileMetadataByIdRequestBody,
    UpdateFileMetadataByIdRequestBodyOpField,
    UpdateFileMetadataByIdScope,
)
from box_sdk_gen.managers.files import CopyFileParent, UpdateFileByIdLock, UpdateFileByIdParent
from box_sdk_gen.managers.folders import CopyFolderParent
from box_sdk_gen.managers.metadata_templates import (
    CreateMetadataTemplateFields,
    CreateMetadataTemplateFieldsTypeField,
)
from box_sdk_gen.managers.search import SearchForContentContentTypes
from box_sdk_gen.managers.shared_links_files import (
    AddShareLinkToFileSharedLink,
    AddShareLinkToFileSharedLinkAccessField,
)
from box_sdk_gen.managers.uploads import (
    PreflightFileUploadCheckParent,
    UploadFileVersionAttributes,
)
from box_sdk_gen.managers.user_collaborations import (
    CreateCollaborationAccessibleBy,
    CreateCollaborationAccessibleByTypeField,
    CreateCollaborationItem,
    CreateCollaborationItemTypeField,
    CreateCollaborationRole,
)
from processes import PATIENCE, eventually


@pytest.fixture
def client(box: Box) -> BoxClient:
    auth = BoxDeveloperTokenAuth(token=box.token()["access_token"])
    return BoxClient(auth=auth).with_custom_base_urls(urls(box))


def urls(box: Box) -> BaseUrls:
    return BaseUrls(base_url=box.url, upload_url=f"{box.url}/upload", oauth_2_url=f"{box.url}/api/oauth2")


def upload(client: BoxClient, name: str, content: bytes = b"hello", parent: str = ROOT) -> Any:
    attributes = UploadFileAttributes(name=name, parent=UploadFileAttributesParentField(id=parent))
    files = client.uploads.upload_file(attributes, io.BytesIO(content))
    assert files.entries
    return files.entries[0]


def folder(client: BoxClient, name: str, parent: str = ROOT) -> Any:
    return client.folders.create_folder(name, CreateFolderParent(id=parent))


def read(client: BoxClient, file_id: str, **more: Any) -> bytes:
    stream = client.downloads.download_file(file_id, **more)
    assert stream is not None
    content: bytes = stream.read()
    return content


def refused(call: Callable[[], object]) -> tuple[int, str | None]:
    with pytest.raises(BoxAPIError) as refusal:
        call()
    assert refusal.value.response_info.request_id
    return refusal.value.response_info.status_code, refusal.value.response_info.code


def oauth_client(box: Box) -> tuple[BoxOAuth, BoxClient]:
    network = NetworkSession(base_urls=urls(box))
    oauth = BoxOAuth(OAuthConfig(client_id=APP["client_id"], client_secret=APP["client_secret"]))
    oauth.get_tokens_authorization_code_grant(box.code(), network_session=network)
    return oauth, BoxClient(auth=oauth, network_session=network)


def test_consent_becomes_a_client_that_refreshes_and_ends(box: Box) -> None:
    oauth, client = oauth_client(box)
    me = client.users.get_user_me()
    assert (me.id, me.login) == ("11446498", "ann@example.com")
    first = oauth.token_storage.get()
    assert first is not None
    box.control("tokens/expire")
    assert client.users.get_user_me().name == "Ann Lee"
    second = oauth.token_storage.get()
    assert second is not None
    assert second.refresh_token != first.refresh_token
    oauth.revoke_token(network_session=client.network_session)
    stale = {"Authorization": f"Bearer {second.access_token}"}
    assert box.http.get("/2.0/users/me", headers=stale).status_code == 401


def test_folders_are_made_listed_in_both_ways_and_deleted(client: BoxClient) -> None:
    docs = folder(client, "Docs")
    for name in ("c.txt", "a.txt", "b.txt"):
        upload(client, name, parent=docs.id)
    folder(client, "z", docs.id)
    page = client.folders.get_folder_items(docs.id, limit=2, offset=1, fields=["name", "size"])
    assert page.entries is not None
    assert [entry.name for entry in page.entries] == ["a.txt", "b.txt"]
    assert page.total_count == 4
    names, marker = [], None
    while True:
        marked = client.folders.get_folder_items(docs.id, usemarker=True, marker=marker, limit=3)
        names += [entry.name for entry in marked.entries or []]
        marker = marked.next_marker
        if not marker:
            break
    assert sorted(str(name) for name in names) == ["a.txt", "b.txt", "c.txt", "z"]
    twin = client.folders.copy_folder(docs.id, CopyFolderParent(id=ROOT), name="Twin")
    collection = client.folders.get_folder_by_id(twin.id).item_collection
    assert collection is not None
    assert collection.total_count == 4
    renamed = client.folders.update_folder_by_id(twin.id, name="Renamed", description="a copy")
    assert (renamed.name, renamed.description) == ("Renamed", "a copy")
    assert refused(lambda: client.folders.delete_folder_by_id(twin.id)) == (400, "folder_not_empty")
    client.folders.delete_folder_by_id(twin.id, recursive=True)
    assert refused(lambda: client.folders.get_folder_by_id(twin.id)) == (404, "trashed")


def test_files_go_up_and_come_down_whole_and_in_part(client: BoxClient) -> None:
    checked = client.uploads.preflight_file_upload_check(
        name="a.txt", size=11, parent=PreflightFileUploadCheckParent(id=ROOT)
    )
    assert checked.upload_url is not None
    assert checked.upload_url.startswith("http://127.0.0.1")
    file = upload(client, "a.txt", b"hello world")
    assert file.sha_1 == "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"
    assert read(client, file.id) == b"hello world"
    assert read(client, file.id, range="bytes=6-10") == b"world"
    assert client.downloads.get_download_file_url(file.id).startswith("http://127.0.0.1")
    taken = PreflightFileUploadCheckParent(id=ROOT)
    check = client.uploads.preflight_file_upload_check
    assert refused(lambda: check(name="A.TXT", parent=taken)) == (409, "item_name_in_use")
    assert refused(lambda: upload(client, "a.txt")) == (409, "item_name_in_use")
    assert refused(lambda: upload(client, "a/b")) == (400, "item_name_invalid")


def test_versions_are_kept_and_promoted(client: BoxClient) -> None:
    file = upload(client, "a.txt", b"one")
    client.uploads.upload_file_version(file.id, UploadFileVersionAttributes(name="b.txt"), io.BytesIO(b"two"))
    past = client.file_versions.get_file_versions(file.id).entries
    assert past is not None
    assert [(version.name, version.size) for version in past] == [("a.txt", 3)]
    assert read(client, file.id, version=past[0].id) == b"one"
    client.file_versions.promote_file_version(file.id, id=past[0].id)
    assert read(client, file.id) == b"one"
    now = client.files.get_file_by_id(file.id)
    assert (now.name, now.etag) == ("b.txt", "2")
    client.file_versions.delete_file_version_by_id(file.id, past[0].id)
    assert client.file_versions.get_file_version_by_id(file.id, past[0].id).trashed_at is not None


def test_a_large_file_goes_up_in_parts(box: Box, client: BoxClient) -> None:
    box.configure(upload_part_size=4, upload_session_minimum=1)
    big = client.chunked_uploads.upload_big_file(io.BytesIO(b"0123456789"), "big.bin", 10, ROOT)
    assert read(client, big.id) == b"0123456789"
    again = client.chunked_uploads.upload_big_file_version(big.id, io.BytesIO(b"9876543210!"), 11)
    assert again is not None
    assert (again.id, again.etag) == (big.id, "1")
    assert read(client, big.id) == b"9876543210!"


def test_a_commit_may_have_to_be_repeated(box: Box, client: BoxClient) -> None:
    box.configure(
        upload_part_size=4, upload_session_minimum=1, first_commit_waits=True, commit_retry_after=0.1
    )
    big = client.chunked_uploads.upload_big_file(io.BytesIO(b"0123456789"), "big.bin", 10, ROOT)
    assert big.size == 10


def test_files_are_copied_moved_and_deleted(client: BoxClient) -> None:
    docs, file = folder(client, "Docs"), upload(client, "a.txt")
    twin = client.files.copy_file(file.id, CopyFileParent(id=docs.id), name="b.txt")
    assert twin.parent is not None
    assert (twin.name, twin.parent.id, twin.etag) == ("b.txt", docs.id, "0")
    move = client.files.update_file_by_id
    parent = UpdateFileByIdParent(id=docs.id)
    assert refused(lambda: move(file.id, name="c", if_match="7")) == (412, "precondition_failed")
    moved = move(file.id, name="c.txt", parent=parent, if_match="0", tags=["x"])
    assert moved.path_collection is not None
    assert [above.name for above in moved.path_collection.entries] == ["All Files", "Docs"]
    assert client.files.get_file_by_id(file.id, fields=["tags"]).tags == ["x"]
    client.files.delete_file_by_id(file.id)
    assert refused(lambda: client.files.get_file_by_id(file.id)) == (404, "trashed")


def test_the_trash_gives_back_and_forgets(client: BoxClient) -> None:
    docs = folder(client, "Docs")
    file = upload(client, "a.txt", parent=docs.id)
    client.files.delete_file_by_id(file.id)
    assert [entry.id for entry in client.trashed_items.get_trashed_items().entries or []] == [file.id]
    assert client.trashed_files.get_trashed_file_by_id(file.id).item_status == "trashed"
    assert client.trashed_files.restore_file_from_trash(file.id, name="b.txt").name == "b.txt"
    client.folders.delete_folder_by_id(docs.id, recursive=True)
    assert client.trashed_folders.get_trashed_folder_by_id(docs.id).name == "Docs"
    assert client.trashed_folders.restore_folder_from_trash(docs.id).item_status == "active"
    client.files.delete_file_by_id(file.id)
    client.trashed_files.delete_trashed_file_by_id(file.id)
    assert refused(lambda: client.files.get_file_by_id(file.id)) == (404, "not_found")


def test_comments_are_written_answered_and_deleted(client: BoxClient) -> None:
    file = upload(client, "a.txt")
    on_file = CreateCommentItem(id=file.id, type=CreateCommentItemTypeField.FILE)
    first = client.comments.create_comment("look here", on_file)
    assert first.id
    on_comment = CreateCommentItem(id=first.id, type=CreateCommentItemTypeField.COMMENT)
    reply = client.comments.create_comment("where?", on_comment)
    assert reply.is_reply_comment
    found = client.comments.get_file_comments(file.id)
    assert [comment.message for comment in found.entries or []] == ["look here", "where?"]
    assert client.comments.update_comment_by_id(first.id, message="there").message == "there"
    client.comments.delete_comment_by_id(first.id)
    assert client.comments.get_file_comments(file.id).total_count == 1


def test_links_are_made_followed_and_ended(client: BoxClient) -> None:
    file = upload(client, "a.txt")
    wish = AddShareLinkToFileSharedLink(
        access=AddShareLinkToFileSharedLinkAccessField.OPEN,
        password="secret",
        unshared_at=datetime.now(UTC) + timedelta(days=1),
    )
    link = client.shared_links_files.add_share_link_to_file(file.id, "shared_link", shared_link=wish)
    assert link.shared_link is not None
    header = f"shared_link={link.shared_link.url}"
    find = client.shared_links_files.find_file_for_shared_link
    assert refused(lambda: find(header)) == (403, "incorrect_shared_item_password")
    assert find(f"{header}&shared_link_password=secret").id == file.id
    client.shared_links_files.remove_shared_link_from_file(file.id, "shared_link", shared_link=null)
    assert refused(lambda: find(header)) == (404, "not_found")


def test_search_finds_names_and_contents(client: BoxClient) -> None:
    docs = folder(client, "Docs")
    upload(client, "Report.TXT", b"the numbers", docs.id)
    upload(client, "other.txt", b"see the report")
    found = client.search.search_for_content(query="report")
    assert found.total_count == 2
    by_name = client.search.search_for_content(
        query="report", content_types=[SearchForContentContentTypes.NAME]
    )
    assert [getattr(entry, "name", "") for entry in by_name.entries or []] == ["Report.TXT"]
    inside = client.search.search_for_content(
        query="t", ancestor_folder_ids=[docs.id], file_extensions=["txt"], size_range=[1, 100]
    )
    assert [getattr(entry, "name", "") for entry in inside.entries or []] == ["Report.TXT"]


def test_metadata_is_set_patched_and_taken_away(client: BoxClient) -> None:
    file = upload(client, "a.txt")
    enterprise = CreateFileMetadataByIdScope.ENTERPRISE
    client.metadata_templates.create_metadata_template(
        "enterprise",
        "Invoice Data",
        fields=[
            CreateMetadataTemplateFields(
                type=CreateMetadataTemplateFieldsTypeField.FLOAT, key="amount", display_name="Amount"
            )
        ],
    )
    templates = client.metadata_templates.get_enterprise_metadata_templates()
    assert [template.template_key for template in templates.entries or []] == ["invoiceData"]
    create = client.file_metadata.create_file_metadata_by_id
    assert create(file.id, enterprise, "invoiceData", {"amount": 3.5}).extra_data == {"amount": 3.5}
    again = refused(lambda: create(file.id, enterprise, "invoiceData", {"amount": 3.5}))
    assert again == (409, "tuple_already_exists")
    step = UpdateFileMetadataByIdRequestBody(
        op=UpdateFileMetadataByIdRequestBodyOpField.REPLACE, path="/amount", value=4
    )
    scope = UpdateFileMetadataByIdScope.ENTERPRISE
    patched = client.file_metadata.update_file_metadata_by_id(file.id, scope, "invoiceData", [step])
    assert (patched.extra_data, patched.version) == ({"amount": 4}, 1)
    create(file.id, CreateFileMetadataByIdScope.GLOBAL, "properties", {"free": "form"})
    assert len(client.file_metadata.get_file_metadata(file.id).entries or []) == 2
    gone = DeleteFileMetadataByIdScope.GLOBAL
    client.file_metadata.delete_file_metadata_by_id(file.id, gone, "properties")
    assert len(client.file_metadata.get_file_metadata(file.id).entries or []) == 1


def test_people_work_on_folders(client: BoxClient) -> None:
    docs = folder(client, "Docs")
    made = client.user_collaborations.create_collaboration(
        CreateCollaborationItem(type=CreateCollaborationItemTypeField.FOLDER, id=docs.id),
        CreateCollaborationAccessibleBy(
            type=CreateCollaborationAccessibleByTypeField.USER, login="bob@example.com"
        ),
        CreateCollaborationRole.EDITOR,
    )
    listed = client.list_collaborations.get_folder_collaborations(docs.id).entries
    assert [found.id for found in listed or []] == [made.id]
    client.user_collaborations.delete_collaboration_by_id(made.id)
    assert client.list_collaborations.get_folder_collaborations(docs.id).entries == []


def test_a_lock_keeps_others_out(box: Box, client: BoxClient) -> None:
    file = upload(client, "a.txt")
    locked = client.files.update_file_by_id(
        file.id, lock=UpdateFileByIdLock(is_download_prevented=True), fields=["lock"]
    )
    assert locked.lock is not None
    auth = BoxDeveloperTokenAuth(token=box.token("bob")["access_token"])
    bob = BoxClient(auth=auth).with_custom_base_urls(urls(box))
    rename = bob.files.update_file_by_id
    assert refused(lambda: rename(file.id, name="b")) == (403, "access_denied_item_locked")
    assert refused(lambda: read(bob, file.id)) == (403, "access_denied_item_locked")


@pytest.mark.parametrize(
    ("stream", "types"),
    [
        (GetEventsStreamType.ALL, ["ITEM_CREATE", "ITEM_UPLOAD", "COMMENT_CREATE", "ITEM_TRASH"]),
        (GetEventsStreamType.CHANGES, ["ITEM_CREATE", "ITEM_UPLOAD", "ITEM_TRASH"]),
        (GetEventsStreamType.SYNC, ["ITEM_CREATE", "ITEM_UPLOAD", "ITEM_TRASH"]),
        (GetEventsStreamType.ADMIN_LOGS, ["UPLOAD", "UPLOAD", "COMMENT_CREATE", "DELETE"]),
        (GetEventsStreamType.ADMIN_LOGS_STREAMING, ["UPLOAD", "UPLOAD", "COMMENT_CREATE", "DELETE"]),
    ],
)
def test_every_stream_shows_what_is_in_it(
    box: Box, client: BoxClient, stream: GetEventsStreamType, types: list[str]
) -> None:
    start = client.events.get_events(stream_position="now", stream_type=stream)
    assert start.entries == []
    box.change("upload", "/Docs/a.txt", content="x")
    box.change("comment", "/Docs/a.txt", content="well")
    box.change("delete", "/Docs/a.txt")
    position = str(start.next_stream_position)
    found = client.events.get_events(stream_position=position, stream_type=stream)
    assert [
        str(getattr(event.event_type, "value", event.event_type)) for event in found.entries or []
    ] == types
    end = client.events.get_events(stream_position=str(found.next_stream_position), stream_type=stream)
    assert (end.entries, end.next_stream_position) == ([], found.next_stream_position)


def test_the_event_stream_of_the_sdk_follows_long_polls(box: Box, client: BoxClient) -> None:
    box.configure(long_poll_seconds=0.3)
    stream: Any = client.events.get_event_stream()
    seen = queue.Queue[Any]()

    def follow() -> None:
        for event in stream:
            seen.put(event)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    # The stream swallows its errors, so what it does is read from the log of the sandbox.
    _wait_for_polls(box, 2)
    box.change("upload", "/Docs/a.txt", content="x")
    assert [seen.get(timeout=PATIENCE).source.name for _ in range(2)] == ["Docs", "a.txt"]
    _wait_for_polls(box, 1)
    box.change("rename", "/Docs/a.txt", destination="b.txt")
    assert seen.get(timeout=PATIENCE).event_type.value == "ITEM_RENAME"
    stream.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def _wait_for_polls(box: Box, count: int) -> None:
    url = "/control/requests"
    before = box.steering.get(url).json()["latest"]

    def polled() -> bool:
        log = box.steering.get(url, params={"since": before}).json()["requests"]
        return len([request for request in log if request["path"] == "/box/subscribe"]) >= count

    eventually(polled, "polls of the stream")


def test_the_sdk_waits_when_it_is_told_to(box: Box, client: BoxClient) -> None:
    box.fault("429", times=2, retry_after=0.1)
    began = time.monotonic()
    assert client.users.get_user_me().login == "ann@example.com"
    assert time.monotonic() - began >= 0.2


def test_an_account_that_is_full_is_refused(box: Box, client: BoxClient) -> None:
    box.configure(space_amount=4)
    assert refused(lambda: upload(client, "a.txt", b"12345")) == (403, "storage_limit_exceeded")
    assert client.users.get_user_me().space_amount == 4
