"""Box. Facts from developer.box.com unless a line says otherwise."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

import orjson

from app.errors import (
    BadRequest,
    RangeNotSatisfiable,
    VendorConflict,
    VendorError,
    VendorForbidden,
    VendorNotFound,
    VendorRefused,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from app.hubs.documents import (
    Announcement,
    Call,
    ChangePage,
    Channel,
    DocumentsProvider,
    Field,
    Hooks,
    Native,
    News,
    Power,
)
from app.hubs.entries import (
    Collaboration,
    Comment,
    CommentPage,
    Download,
    Entry,
    EntryPage,
    FieldTemplate,
    FieldValues,
    Kind,
    Link,
    Lock,
    Profile,
    Revision,
    Search,
    Slice,
    Sort,
    Storage,
    Target,
    Upload,
    offset_of,
)
from app.hubs.paths import Paths, segment, split
from app.providers.box import changes, waiting, webhooks
from app.providers.box.items import ROOT, path_of
from app.upstream.client import Refusal, Upstream, decode
from app.upstream.content import HELD, Chunk, Content, ahead, chunks
from app.upstream.oauth import OAuthSpec
from app.upstream.reading import date, mapping, rows, text

_FIELDS = (
    "type,id,sequence_id,etag,sha1,name,description,size,path_collection,created_at,modified_at,"
    "content_created_at,content_modified_at,created_by,modified_by,owned_by,shared_link,parent,item_status,tags"
)
_ITEM = {"fields": _FIELDS}

_HELD = HELD
_IN_PARTS = 50 * 10**6  # bytes; from this size on Box advises upload sessions
_LIST_LIMIT = 1000
_SEARCH_LIMIT = 200
_OFFSET_LIMIT = 10_000  # entries; Box refuses offsets beyond it
_SORTS = {"name": "name", "modifiedDate": "date", "size": "size"}

_sha1 = partial(hashlib.sha1, usedforsecurity=False)  # the checksum that Box uses


class Box(DocumentsProvider):
    """Box's API for one user."""

    key: ClassVar[str] = "box"
    element_id: ClassVar[int] = 22
    name: ClassVar[str] = "Box"
    description: ClassVar[str] = "Connect a Box account: its files, folders and the changes in them."
    powers: ClassVar[frozenset[Power]] = frozenset(Power)
    base_url: ClassVar[str] = "https://api.box.com"
    hosts: ClassVar[Mapping[str, str]] = {
        "upload": "https://upload.box.com",
        "account": "https://account.box.com",
    }
    page_limit: ClassVar[int] = 500  # of the events endpoint
    shortest_search: ClassVar[int] = 1
    notes: ClassVar[tuple[str, ...]] = (
        "A refresh token works once and ends after 60 days without use.",
        "A file above 8 MiB needs a Content-Length, because Box wants to know its size first.",
        "Search goes through Box's index, which knows a new name after some minutes.",
        "`revisions` leaves out the current version.",
        (
            "Webhooks need an app with the scope `manage_webhook`. Box admits one for each item, app and "
            "user, none on the root, and calls https addresses on port 443 only."
        ),
    )

    oauth: ClassVar[OAuthSpec] = OAuthSpec(
        authorize_path="/api/oauth2/authorize",
        authorize_host="account",
        token_path="/oauth2/token",  # noqa: S106
        revoke_path="/oauth2/revoke",
    )
    fields: ClassVar[tuple[Field, ...]] = (*changes.FIELDS, *waiting.FIELDS, *webhooks.FIELDS)
    webhook_keys: ClassVar[tuple[str, ...]] = tuple(webhooks.KEYS.values())
    native: ClassVar[Native] = Native(
        allowed=r"[A-Z]+ (?:(?:api|upload)/)?2\.0/.+",
        hosts=(
            (r"[A-Z]+ (?:api|upload)/(2\.0/.*)", "upload", r"/api/\1"),
            (r"POST (2\.0/files/(?:\d+/)?(?:content|upload_sessions))", "upload", r"/api/\1"),
            (r"[A-Z]+ (2\.0/files/upload_sessions/.*)", "upload", r"/api/\1"),
        ),
        links=(
            r"OPTIONS 2\.0/events|OPTIONS 2\.0/files/(\d+/)?content"
            r"|(POST|GET) ((api|upload)/)?2\.0/files/(\d+/)?upload_sessions(/[^/]+)?"
        ),
        domains=("box.com", "box.net", "boxcloud.com"),
    )

    def __init__(self, upstream: Upstream, configuration: Mapping[str, str | None]) -> None:
        self._upstream = upstream
        self._configuration = configuration
        self._paths = Paths(
            upstream.hints,
            root_id=ROOT,
            fetch=self._fetch,
            children=self._children,
            create=self._create_in,
        )

    @staticmethod
    def refusal(answer: Refusal) -> Exception:
        """One error form for everything: code, message, request_id, and what is in the way."""
        if answer.status == 416:
            return RangeNotSatisfiable()
        body = mapping(answer.json())
        words = str(body.get("message") or body.get("error_description") or body.get("code") or "")
        facts: dict[str, Any] = {
            "provider_message": words or f"HTTP {answer.status}",
            "vendor_status": answer.status,
            "retry_after": answer.retry_after,
            "request_id": text(body.get("request_id")),
        }
        if answer.status == 409:
            return _NameInUse(_conflict(body), **facts)
        return _kind(answer.status)(**facts)

    async def ping(self) -> None:
        decode(await self._upstream.get("/2.0/users/me", fields="id"))

    async def me(self) -> Profile:
        user = await self._json("GET", "/2.0/users/me")
        login = text(user.get("login"))
        return Profile(str(user.get("id")), text(user.get("name")), login, login, user)

    async def storage(self) -> Storage:
        user = await self._json("GET", "/2.0/users/me", params={"fields": "space_amount,space_used"})
        total = user.get("space_amount")  # -1 is no limit
        return Storage(used=user.get("space_used"), total=total if total != -1 else None)

    async def entry(self, target: Target) -> Entry:
        return await self._paths.find(target)

    async def contents(
        self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
    ) -> EntryPage:
        folder_id = await self._id(folder)
        if sort is not None and sort.field in _SORTS and (cursor is None or cursor.isdecimal()):
            page = await self._sorted(folder_id, offset_of(cursor), limit, sort)
            if page.total is None or page.total <= _OFFSET_LIMIT:
                return page
        parameters = _ITEM | {"usemarker": "true", "limit": min(limit, _LIST_LIMIT)}
        if cursor is not None:
            parameters["marker"] = cursor
        body = await self._json("GET", f"/2.0/folders/{segment(folder_id)}/items", params=parameters)
        return EntryPage(_entries(body), text(body.get("next_marker")))

    async def search(self, search: Search, cursor: str | None, limit: int) -> EntryPage:
        offset = offset_of(cursor)
        parameters: dict[str, str | int] = {
            "query": search.text,
            "content_types": "name",
            "limit": min(limit, _SEARCH_LIMIT),
            "offset": offset,
            "created_at_range": _range(search.created),
            "updated_at_range": _range(search.modified),
            "file_extensions": search.extension or "",
            "type": search.kind or "",
            **_ITEM,
        }
        if search.folder is not None:
            parameters["ancestor_folder_ids"] = await self._id(search.folder)
        known = {key: value for key, value in parameters.items() if value != ""}
        body = await self._json("GET", "/2.0/search", params=known)
        found = _entries(body)
        following = offset + len(found)
        more = found and following < min(int(body.get("total_count") or 0), _OFFSET_LIMIT)
        return EntryPage(found, str(following) if more else None)

    async def download(
        self, file: Target, *, byte_range: str | None = None, revision_id: str | None = None
    ) -> Download:
        response = await self._upstream.open(
            f"/2.0/files/{await self._file_id(file)}/content",
            headers={"Range": byte_range} if byte_range else None,
            params={"version": revision_id} if revision_id else None,
        )
        return Download(split(file.path)[1] if file.path else None, response)

    async def upload(self, upload: Upload) -> Entry:
        parent_id = await self._paths.folder_id(upload.parent)
        content = upload.content
        if content.size is not None and content.size > _HELD:
            file_id = await self._to_replace(parent_id, upload)
            way = self._stream if content.size < _IN_PARTS else self._in_parts
            return await way(parent_id, file_id, upload.name, content)
        data = await content.take(_HELD + 1)
        if len(data) > _HELD:
            raise BadRequest("file: more than 8 MiB need a Content-Length or the parameter 'size'")
        try:
            return await self._send(parent_id, None, upload.name, data)
        except _NameInUse as taken:
            if not upload.overwrite or taken.item_id is None:
                raise
            return await self._send(parent_id, taken.item_id, upload.name, data)

    async def create_folder(self, path: str) -> Entry:
        parent, name = split(path)
        return await self._create_in(await self._paths.folder_id(Target(Kind.FOLDER, path=parent)), name)

    async def move(self, entry: Entry, path: str) -> Entry:
        return await self._change(entry, await self._place(path))

    async def copy(self, entry: Entry, path: str) -> Entry:
        place = await self._place(path)
        return _entry(await self._json("POST", _at(entry, "/copy"), json=place, params=_ITEM))

    async def delete(self, entry: Entry, *, empty_trash: bool) -> None:
        recursive = {"recursive": "true"} if entry.kind is Kind.FOLDER else None
        await self._upstream.call("DELETE", _at(entry), params=recursive)
        if empty_trash:
            await self._upstream.call("DELETE", _at(entry, "/trash"))

    async def describe(self, entry: Entry, *, description: str | None, tags: Sequence[str] | None) -> Entry:
        wanted = {"description": description, "tags": list(tags) if tags is not None else None}
        return await self._change(entry, {key: value for key, value in wanted.items() if value is not None})

    async def link(self, entry: Entry, expires_at: datetime | None) -> Link:
        shared = mapping(entry.raw.get("shared_link"))
        if shared and shared.get("access") != "open":
            raise VendorForbidden("The file is shared with less than everybody; its link stays as it is")
        if not shared or (expires_at and date(shared.get("unshared_at")) != expires_at):
            wish = {"access": "open"} | ({"unshared_at": expires_at.isoformat()} if expires_at else {})
            changed = await self._change(entry, {"shared_link": wish})
            shared = mapping(changed.raw.get("shared_link"))
        return Link(
            text(shared.get("download_url")),
            text(shared.get("url")),
            date(shared.get("unshared_at")),
            shared,
        )

    async def unlink(self, entry: Entry) -> None:
        if mapping(entry.raw.get("shared_link")).get("access") == "open":
            await self._change(entry, {"shared_link": None})

    async def revisions(self, file: Target) -> Sequence[Revision]:
        file_id = await self._file_id(file)
        fields = "id,name,size,sha1,created_at,modified_at,modified_by"
        return [_revision(row) for row in await self._all(f"/2.0/files/{file_id}/versions", fields)]

    async def restore(self, file: Target, revision_id: str) -> Entry:
        file_id = await self._file_id(file)
        chosen = {"type": "file_version", "id": revision_id}
        await self._json("POST", f"/2.0/files/{file_id}/versions/current", json=chosen)
        return await self._fetch(Kind.FILE, file_id)

    async def comments(self, file: Target, part: Slice) -> CommentPage:
        parameters: dict[str, str | int] = {
            "offset": part.offset,
            "limit": min(part.limit, _LIST_LIMIT),
            "fields": _COMMENT,
        }
        path = f"/2.0/files/{await self._file_id(file)}/comments"
        body = await self._json("GET", path, params=parameters)
        found = [_comment(row) for row in _rows(body)]
        return CommentPage(found, part.offset + len(found) < int(body.get("total_count") or 0))

    async def comment(self, file: Target, comment_id: str) -> Comment:
        path = f"/2.0/comments/{segment(comment_id)}"
        found = await self._json("GET", path, params={"fields": _COMMENT})
        if file.id is not None and mapping(found.get("item")).get("id") != file.id:
            raise VendorNotFound("The comment is on another file")
        return _comment(found)

    async def add_comment(self, file: Target, words: str) -> Comment:
        wanted = {"message": words, "item": {"type": "file", "id": await self._file_id(file)}}
        return _comment(await self._json("POST", "/2.0/comments", json=wanted, params={"fields": _COMMENT}))

    async def edit_comment(self, file: Target, comment_id: str, words: str) -> Comment:
        path = f"/2.0/comments/{segment(comment_id)}"
        return _comment(await self._json("PUT", path, json={"message": words}, params={"fields": _COMMENT}))

    async def delete_comment(self, file: Target, comment_id: str) -> None:
        await self._upstream.call("DELETE", f"/2.0/comments/{segment(comment_id)}")

    async def lock(self, file: Target, lock: Lock) -> None:
        wanted: dict[str, Any] = {"access": "lock", "is_download_prevented": lock.is_download_prevented}
        if lock.expires_at is not None:
            wanted["expires_at"] = lock.expires_at.isoformat()
        await self._lock(file, wanted)

    async def unlock(self, file: Target) -> None:
        await self._lock(file, None)

    async def collaborations(self, folder: Target) -> Sequence[Collaboration]:
        folder_id = await self._id(folder)
        body = await self._json("GET", f"/2.0/folders/{segment(folder_id)}/collaborations")
        return [_collaboration(row) for row in _rows(body)]

    async def set_properties(self, entry: Entry, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return (await self.set_custom_fields(entry, "properties", "global", values)).values

    async def field_templates(self, scope: str | None) -> Sequence[FieldTemplate]:
        found: list[FieldTemplate] = []
        for each in [scope] if scope else ["global", "enterprise"]:
            body = await self._json("GET", f"/2.0/metadata_templates/{segment(each)}", params={"limit": 100})
            found += [
                FieldTemplate(
                    str(row.get("templateKey")),
                    str(row.get("displayName")),
                    str(row.get("scope")),
                    row.get("fields") or [],
                    row,
                )
                for row in _rows(body)
            ]
        return found

    async def custom_fields(self, entry: Entry) -> Sequence[FieldValues]:
        return [_values(row) for row in _rows(await self._json("GET", _at(entry, "/metadata")))]

    async def set_custom_fields(
        self, entry: Entry, template: str, scope: str | None, values: Mapping[str, Any]
    ) -> FieldValues:
        path = _at(entry, _metadata(template, scope))
        try:
            return _values(await self._json("POST", path, json=dict(values)))
        except VendorConflict:  # there are some already
            patch = [{"op": "add", "path": _pointer(key), "value": value} for key, value in values.items()]
            headers = {"Content-Type": "application/json-patch+json"}
            done = await self._upstream.call("PUT", path, content=orjson.dumps(patch), headers=headers)
            return _values(mapping(decode(done)))

    async def remove_custom_fields(self, entry: Entry, template: str, scope: str | None) -> None:
        await self._upstream.call("DELETE", _at(entry, _metadata(template, scope)))

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        return await changes.page(self._upstream, changes.stream_of(self._configuration), cursor, limit)

    async def subscribe(self, url: str, secret: str, hooks: Sequence[str]) -> Hooks:
        return await webhooks.subscribe(self._upstream, self._configuration, url, hooks)

    async def unsubscribe(self, hooks: Sequence[str]) -> None:
        await webhooks.unsubscribe(self._upstream, hooks)

    @staticmethod
    def owner_of(call: Call) -> tuple[str, str] | None:
        return webhooks.owner_of(call)

    @staticmethod
    def is_genuine(call: Call, secret: str | None, configuration: Mapping[str, str | None]) -> bool:
        return webhooks.is_genuine(call, configuration)

    @staticmethod
    def announced(call: Call) -> Announcement:
        return webhooks.announced(call)

    @staticmethod
    def stream(configuration: Mapping[str, str | None]) -> str:
        return changes.name_of(configuration)

    @staticmethod
    def can_wait(configuration: Mapping[str, str | None]) -> bool:
        return changes.stream_of(configuration).is_of_user

    async def wait(self, cursor: str, channel: Channel | None) -> News:
        stream = changes.stream_of(self._configuration).kind
        return await waiting.news(self._upstream, stream, cursor, channel)

    async def _json(self, method: str, path: str, **call: Any) -> Mapping[str, Any]:
        return mapping(decode(await self._upstream.call(method, path, **call)))

    async def _all(self, path: str, fields: str) -> list[Mapping[str, Any]]:
        """Every row of a list that is short as a rule."""
        found: list[Mapping[str, Any]] = []
        while True:
            parameters = {"limit": _LIST_LIMIT, "offset": len(found), "fields": fields}
            body = await self._json("GET", path, params=parameters)
            found += _rows(body)
            if not _rows(body) or len(found) >= int(body.get("total_count") or 0):
                return found

    async def _fetch(self, kind: Kind, item_id: str) -> Entry:
        return _entry(await self._json("GET", f"/2.0/{kind}s/{segment(item_id)}", params=_ITEM))

    async def _children(self, folder_id: str) -> AsyncIterator[Entry]:
        cursor: str | None = None
        while True:
            page = await self.contents(Target(Kind.FOLDER, id=folder_id), cursor, _LIST_LIMIT)
            for entry in page.entries:
                yield entry
            cursor = page.cursor
            if cursor is None:
                return

    async def _sorted(self, folder_id: str, offset: int, limit: int, sort: Sort) -> EntryPage:
        parameters = _ITEM | {
            "limit": min(limit, _LIST_LIMIT),
            "offset": offset,
            "sort": _SORTS[sort.field],
            "direction": "DESC" if sort.descending else "ASC",
        }
        body = await self._json("GET", f"/2.0/folders/{segment(folder_id)}/items", params=parameters)
        found, total = _entries(body), int(body.get("total_count") or 0)
        following = offset + len(found)
        return EntryPage(found, str(following) if found and following < total else None, total, sorted=True)

    async def _file_id(self, file: Target) -> str:
        return segment(await self._id(file))

    async def _id(self, target: Target) -> str:
        return target.id or (await self._paths.find(target)).id

    async def _create_in(self, parent_id: str, name: str) -> Entry:
        wanted = {"name": name, "parent": {"id": parent_id}}
        return _entry(await self._json("POST", "/2.0/folders", json=wanted, params=_ITEM))

    async def _place(self, path: str) -> dict[str, Any]:
        parent, name = split(path)
        return {
            "name": name,
            "parent": {"id": await self._paths.folder_id(Target(Kind.FOLDER, path=parent))},
        }

    async def _change(self, entry: Entry, changes: Mapping[str, Any]) -> Entry:
        return _entry(await self._json("PUT", _at(entry), json=changes, params=_ITEM))

    async def _lock(self, file: Target, lock: Mapping[str, Any] | None) -> None:
        path = f"/2.0/files/{await self._file_id(file)}"
        await self._json("PUT", path, json={"lock": lock}, params={"fields": "lock"})

    async def _stored(self, parent_id: str, name: str) -> Entry | None:
        """The file of that name."""
        async for entry in self._children(parent_id):
            if entry.kind is Kind.FILE and entry.name == name:
                return entry
        return None

    async def _to_replace(self, parent_id: str, upload: Upload) -> str | None:
        """Asks Box, before the bytes come, whether they will be welcome; the id of a file of that name."""
        wanted = {"name": upload.name, "parent": {"id": parent_id}, "size": upload.content.size}
        try:
            await self._upstream.call("OPTIONS", "/2.0/files/content", json=wanted)
        except _NameInUse as taken:
            if not upload.overwrite or taken.item_id is None:
                raise
            return taken.item_id
        return None

    async def _send(self, parent_id: str, file_id: str | None, name: str, data: bytes) -> Entry:
        head, tail, headers = _envelope(parent_id, file_id, name)
        headers["Content-MD5"] = _sha1(data).hexdigest()  # Box means SHA-1
        path = _upload_path(file_id, "content")
        done = await self._upstream.call(
            "POST", path, host="upload", content=head + data + tail, headers=headers
        )
        return _uploaded(decode(done))

    async def _stream(self, parent_id: str, file_id: str | None, name: str, content: Content) -> Entry:
        head, tail, headers = _envelope(parent_id, file_id, name)
        headers["Content-Length"] = str(len(head) + (content.size or 0) + len(tail))
        digest = _sha1()

        async def body() -> AsyncIterator[bytes]:
            yield head
            async for chunk in content.rest(digest):
                yield chunk
            yield tail

        path = _upload_path(file_id, "content")
        done = await self._upstream.stream("POST", path, body, content, host="upload", headers=headers)
        entry = _uploaded(decode(done))
        if entry.raw.get("sha1") != digest.hexdigest():
            await self.delete(entry, empty_trash=False) if file_id is None else await self._forget_version(
                entry
            )
            raise VendorUnavailable("what the vendor stored has another checksum than what was sent")
        return entry

    async def _forget_version(self, entry: Entry) -> None:
        version = mapping(entry.raw.get("file_version")).get("id")
        await self._upstream.call("DELETE", _at(entry, f"/versions/{segment(str(version))}"))

    async def _in_parts(self, parent_id: str, file_id: str | None, name: str, content: Content) -> Entry:
        wanted = {"file_size": content.size, "file_name": name}
        wanted |= {} if file_id else {"folder_id": parent_id}
        session = await self._json(
            "POST", _upload_path(file_id, "upload_sessions"), host="upload", json=wanted
        )
        urls = mapping(session.get("session_endpoints"))
        try:
            sent, digest = await self._send_parts(session, urls, content)
        except BaseException:  # a client that has left included: nothing half may stay behind
            with suppress(VendorError):
                await self._upstream.call("DELETE", str(urls["abort"]))
            raise
        headers = {"Digest": f"sha={base64.b64encode(digest).decode()}"}
        try:
            done = await self._upstream.call(
                "POST", str(urls["commit"]), json={"parts": sent}, headers=headers
            )
            return _uploaded(decode(done))
        except VendorUnavailable:
            stored = await self._stored(parent_id, name)
            if stored is None or stored.raw.get("sha1") != digest.hex():
                raise
            return stored  # only its answer was lost

    async def _send_parts(
        self, session: Mapping[str, Any], urls: Mapping[str, Any], content: Content
    ) -> tuple[list[Mapping[str, Any]], bytes]:
        whole, sent, offset = _sha1(), [], 0
        with Chunk(_sha1) as one, Chunk(_sha1) as other:
            parts = chunks(content, int(session["part_size"]), (one, other), whole)
            async with aclosing(ahead(parts)) as reading:
                async for part in reading:
                    sent.append(await self._sendsegment(urls, part, offset, content.size or 0))
                    offset += len(part)
        return sent, whole.digest()

    async def _sendsegment(
        self, urls: Mapping[str, Any], part: Chunk, offset: int, size: int
    ) -> Mapping[str, Any]:
        headers = {
            "Digest": f"sha={base64.b64encode(part.digest).decode()}",
            "Content-Range": f"bytes {offset}-{offset + len(part) - 1}/{size}",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(part)),
        }
        try:
            done = await self._upstream.stream("PUT", str(urls["upload_part"]), part.pieces, headers=headers)
            stored = mapping(mapping(decode(done)).get("part"))
        except VendorConflict:  # it had arrived although its answer had not
            listed = await self._all(str(urls["list_parts"]), "")
            stored = next((row for row in listed if row.get("offset") == offset), {})
        if stored.get("sha1") != part.digest.hex():
            raise VendorUnavailable("the vendor holds another part than what was sent")
        return stored


provider = Box


class _NameInUse(VendorConflict):
    """Something with the same name already exists at the vendor."""

    def __init__(self, item_id: str | None, **facts: Any) -> None:
        super().__init__(**facts)
        self.item_id = item_id


_COMMENT = "id,message,created_at,modified_at,created_by,item"


def _kind(status: int) -> type[VendorError]:
    if status >= 500 or status < 400:
        return VendorUnavailable
    known = {
        401: VendorUnauthorized,
        403: VendorForbidden,
        404: VendorNotFound,
        405: VendorNotFound,  # for an id that is not in Box's form
        429: VendorThrottled,
    }
    return known.get(status, VendorRefused)


def _conflict(body: Mapping[str, Any]) -> str | None:
    """The file that has the name already."""
    found = mapping(body.get("context_info")).get("conflicts")
    item = mapping(found[0] if isinstance(found, list) and found else found)
    return text(item.get("id")) if item.get("type") == "file" else None


def _entries(body: Mapping[str, Any]) -> list[Entry]:
    return [_entry(row) for row in _rows(body)]


def _entry(item: Mapping[str, Any]) -> Entry:
    if "id" not in item:
        raise VendorUnavailable("the vendor's answer is neither a file nor a folder")
    kind = Kind.FOLDER if item.get("type") == "folder" else Kind.FILE
    name = str(item.get("name") or "")
    return Entry(
        id=str(item["id"]),
        kind=kind,
        name=name,
        path=path_of(item, name),
        size=item.get("size"),
        created_at=date(item.get("created_at")),
        modified_at=date(item.get("modified_at")),
        parent_id=text(mapping(item.get("parent")).get("id")),
        raw=item,
        mime_type=mimetypes.guess_type(name)[0] if kind is Kind.FILE else None,
        tags=item.get("tags") or (),
        description=text(item.get("description")),
    )


def _uploaded(body: Any) -> Entry:
    found = _rows(mapping(body))
    return _entry(found[0] if found else {})


def _revision(row: Mapping[str, Any]) -> Revision:
    return Revision(
        id=str(row.get("id")),
        file_name=text(row.get("name")),
        size=row.get("size"),
        modified_at=date(row.get("modified_at")),
        raw=row,
    )


def _comment(row: Mapping[str, Any]) -> Comment:
    author = mapping(row.get("created_by"))
    return Comment(
        str(row.get("id")),
        str(row.get("message") or ""),
        date(row.get("created_at")),
        date(row.get("modified_at")),
        text(author.get("id")),
        text(author.get("name")),
        row,
    )


def _collaboration(row: Mapping[str, Any]) -> Collaboration:
    subject = mapping(row.get("accessible_by"))
    name = text(subject.get("login") or subject.get("name"))
    return Collaboration(
        str(row.get("id")),
        str(row.get("role")),
        str(subject.get("type") or "user"),
        text(subject.get("id")),
        name,
        row,
    )


def _values(row: Mapping[str, Any]) -> FieldValues:
    values = {key: value for key, value in row.items() if not key.startswith("$")}
    return FieldValues(str(row.get("$template")), str(row.get("$scope")), values, row)


def _metadata(template: str, scope: str | None) -> str:
    """`properties` is the one free template that every account has."""
    usual = "global" if template == "properties" else "enterprise"
    return f"/metadata/{segment(scope or usual)}/{segment(template)}"


def _pointer(key: str) -> str:
    """A key as RFC 6901 writes it; as it is, one with a slash would lead into another value."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _envelope(parent_id: str, file_id: str | None, name: str) -> tuple[bytes, bytes, dict[str, str]]:
    """What stands around the bytes of an upload; Box wants the attributes first."""
    boundary = secrets.token_hex(16)
    attributes: dict[str, Any] = {"name": name} | ({} if file_id else {"parent": {"id": parent_id}})
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="attributes"\r\n\r\n'.encode()
        + orjson.dumps(attributes)
        + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'.encode()
        + b"Content-Type: application/octet-stream\r\n\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return head, f"\r\n--{boundary}--\r\n".encode(), headers


def _upload_path(file_id: str | None, action: str) -> str:
    return f"/api/2.0/files/{segment(file_id) + '/' if file_id else ''}{action}"


def _at(entry: Entry, rest: str = "") -> str:
    kind = entry.raw.get("type") or entry.kind  # a bookmark is a file to the hub and a web_link to Box
    return f"/2.0/{kind}s/{segment(entry.id)}{rest}"


def _range(span: tuple[datetime | None, datetime | None]) -> str:
    return ",".join(moment.isoformat() if moment else "" for moment in span) if any(span) else ""


def _rows(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return rows(body.get("entries"))
