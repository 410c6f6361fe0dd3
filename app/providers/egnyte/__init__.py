"""Egnyte. Facts from developers.egnyte.com unless a line says otherwise."""

from __future__ import annotations

import hashlib
import math
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

from app.errors import (
    BadRequest,
    Conflict,
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
    DocumentsProvider,
    Field,
    Hooks,
    Native,
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
from app.hubs.paths import join, segment, split
from app.providers.egnyte import changes, webhooks
from app.upstream.client import Refusal, Upstream, decode
from app.upstream.content import HELD, Chunk, Content, ahead, chunks
from app.upstream.oauth import OAuthSpec
from app.upstream.reading import date, mapping, rows, text

_HELD = HELD
_IN_CHUNKS = 100 * 10**6  # bytes; from this size on Egnyte asks for chunks
_CHUNK = 100 * 10**6  # bytes; its advice, and each chunk is one of the account's 1,000 calls per day
_LIST_LIMIT = 1000
_SEARCH_LIMIT = 20
_NOTE_LIMIT = 100
_SORTS = {"name": "name", "modifiedDate": "last_modified", "size": "size"}


class Egnyte(DocumentsProvider):
    """Egnyte's public API for one domain and user."""

    key: ClassVar[str] = "egnyte"
    element_id: ClassVar[int] = 4016
    name: ClassVar[str] = "Egnyte"
    description: ClassVar[str] = "Connect an Egnyte domain: its files, folders and the changes in them."
    powers: ClassVar[frozenset[Power]] = frozenset(Power) - {
        Power.LONG_POLL,
        Power.EMPTY_TRASH,
        Power.TAGS,
        Power.DESCRIPTION,
        Power.EDIT_COMMENTS,
        Power.PROPERTIES,
        Power.REMOVE_CUSTOM_FIELDS,
    }
    base_url: ClassVar[str] = "https://{subdomain}.egnyte.com"
    hosts: ClassVar[Mapping[str, str]] = {}
    page_limit: ClassVar[int] = 100  # of the events endpoint
    shortest_search: ClassVar[int] = 3
    notes: ClassVar[tuple[str, ...]] = (
        "2 requests per second and 1,000 per day and token: poll it every 5 minutes or less often.",
        "Everything lies below `/Shared` or `/Private`.",
        "`storage` is what lies below `/Shared`; Egnyte does not tell the size of the plan.",
        "`revisions` begins with the current version; a restored one is uploaded again.",
        (
            "A list's `createdDate` is that of a file's newest version: one that is polled tells each "
            "version as CREATED, which the event stream does not."
        ),
        "A lock is the connected user's and cannot prevent downloads.",
        "Events restricted to a folder do not follow it when it is moved.",
        (
            "Webhooks need an administrator's grant of `Egnyte.webhooks`, which is not asked for by default: "
            "give `/elements/egnyte/oauth/url` the `scope` "
            "`Egnyte.filesystem Egnyte.link Egnyte.webhooks`."
        ),
        "Egnyte signs no webhook: each carries the instance's own secret in `X-Elements-Gateway-Secret`.",
    )
    native: ClassVar[Native] = Native(allowed=r"[A-Z]+ pubapi/(?!v\d+/tokens).+")

    oauth: ClassVar[OAuthSpec] = OAuthSpec(
        authorize_path="/puboauth/token",  # told apart from the token endpoint by its method
        token_path="/puboauth/token",  # noqa: S106
        revoke_path="/pubapi/v1/tokens/revoke",
        scopes=("Egnyte.filesystem", "Egnyte.link"),
        throttle_statuses=frozenset({409, 429}),  # 409: "Best Practices", token endpoint
    )

    fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "subdomain",
            "The Egnyte Subdomain",
            "The part of the Egnyte URL between https:// and .egnyte.com.",
            required=True,
            pattern=r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
            example="acme",
        ),
        *changes.FIELDS,
    )

    def __init__(self, upstream: Upstream, configuration: Mapping[str, str | None]) -> None:
        self._upstream = upstream
        self._configuration = configuration

    @staticmethod
    def refusal(answer: Refusal) -> Exception:
        """Egnyte's gateway and its services each have an error form of their own; all are tried."""
        if answer.status == 416:
            return RangeNotSatisfiable()
        return _kind(answer)(
            provider_message=_words(answer) or f"HTTP {answer.status}",
            vendor_status=answer.status,
            retry_after=answer.retry_after,
            request_id=answer.headers.get("x-request-id"),
        )

    async def ping(self) -> None:
        decode(await self._upstream.get("/pubapi/v1/userinfo"))

    async def me(self) -> Profile:
        user = mapping(decode(await self._upstream.get("/pubapi/v1/userinfo")))
        names = [text(user.get(key)) for key in ("first_name", "last_name")]
        return Profile(
            id=str(user.get("id")),
            name=" ".join(name for name in names if name) or None,
            login=text(user.get("username")),
            email=text(user.get("email")),
            raw=user,
        )

    async def storage(self) -> Storage:
        shared = await self.entry(Target(Kind.FOLDER, path="/Shared"))
        stats = mapping(decode(await self._upstream.get(f"{_at(shared)}/stats")))
        return Storage(used=stats.get("allVersionsSize"), total=None)

    async def entry(self, target: Target) -> Entry:
        found = _entry(await self._json("GET", _fs(target), params={"list_content": "false"}))
        if found.kind is not target.kind:
            raise VendorNotFound(f"There is no {target.kind} there, but a {found.kind}")
        return found

    async def contents(
        self, folder: Target, cursor: str | None, limit: int, sort: Sort | None = None
    ) -> EntryPage:
        offset = offset_of(cursor)
        parameters: dict[str, str | int] = {"count": min(limit, _LIST_LIMIT), "offset": offset}
        if sort is not None and sort.field in _SORTS:
            parameters["sort_by"] = _SORTS[sort.field]
            parameters["sort_direction"] = "descending" if sort.descending else "ascending"
        body = await self._json("GET", _fs(folder), params=parameters)
        if not body.get("is_folder"):
            raise VendorNotFound("There is no folder there, but a file")
        found = [_entry(row) for key in ("folders", "files") for row in rows(body.get(key))]
        total, following = int(body.get("total_count") or 0), offset + len(found)
        return EntryPage(
            found,
            str(following) if found and following < total else None,
            total,
            sorted="sort_by" in parameters,
        )

    async def search(self, search: Search, cursor: str | None, limit: int) -> EntryPage:
        offset = offset_of(cursor)
        parameters: dict[str, str | int] = {
            "query": search.text,
            "count": min(limit, _SEARCH_LIMIT),
            "offset": offset,
            "modified_after": _iso(search.modified[0]),
            "modified_before": _iso(search.modified[1]),
            "type": search.kind.upper() if search.kind else "",
        }
        if search.folder is not None:
            parameters["folder"] = await self._path(search.folder)
        known = {key: value for key, value in parameters.items() if value != ""}
        body = await self._json("GET", "/pubapi/v1/search", params=known)
        results = rows(body.get("results"))
        found = [_entry(row) for row in results]
        if any(search.created):  # of which a result says nothing
            found = [await self.entry(entry.target) for entry in found]
        following = offset + len(results)
        more = results and following < int(body.get("total_count") or 0)
        return EntryPage(found, str(following) if more else None)

    async def download(
        self, file: Target, *, byte_range: str | None = None, revision_id: str | None = None
    ) -> Download:
        name = split(await self._path(file))[1]
        response = await self._upstream.open(
            _content(file),
            headers={"Range": byte_range} if byte_range else None,
            params={"entry_id": revision_id} if revision_id else None,
        )
        return Download(name, response)

    async def upload(self, upload: Upload) -> Entry:
        """Where the name exists Egnyte makes a version of it, so that it is asked first."""
        target = Target(Kind.FILE, path=join(await self._path(upload.parent), upload.name))
        if not upload.overwrite:
            await self._refuse_existing(target)
        content = upload.content
        if content.size is None or content.size <= _HELD:
            data = await content.take(_HELD + 1)
            if len(data) <= _HELD:
                return await self._send(target, data)
            content.put_back(data)
        if content.size is not None and content.size < _IN_CHUNKS:
            return await self._stream(target, content)
        return await self._in_chunks(target, content)

    async def create_folder(self, path: str) -> Entry:
        target = Target(Kind.FOLDER, path=path)
        await self._json("POST", _fs(target), json={"action": "add_folder"})
        return await self.entry(target)

    async def move(self, entry: Entry, path: str) -> Entry:
        return await self._transfer("move", entry, path)

    async def copy(self, entry: Entry, path: str) -> Entry:
        return await self._transfer("copy", entry, path)

    async def delete(self, entry: Entry, *, empty_trash: bool) -> None:
        await self._upstream.call("DELETE", _fs(Target(entry.kind, path=entry.path)))

    async def link(self, entry: Entry, expires_at: datetime | None) -> Link:
        until = expires_at.date().isoformat() if expires_at else None
        for row in await self._links(entry):
            if row.get("accessibility") == "anyone" and row.get("expiry_date") == until:
                return _link(row, row)
        wish = {"path": entry.path, "type": str(entry.kind), "accessibility": "anyone"}
        body = await self._json(
            "POST", "/pubapi/v1/links", json=wish | ({"expiry_date": until} if until else {})
        )
        return _link(next(iter(rows(body.get("links"))), {}), body)

    async def unlink(self, entry: Entry) -> None:
        for row in await self._links(entry):
            if row.get("accessibility") == "anyone":  # others were made for somebody by name
                await self._upstream.call("DELETE", f"/pubapi/v1/links/{segment(str(row.get('id')))}")

    async def revisions(self, file: Target) -> Sequence[Revision]:
        entry = await self.entry(file)
        return [_revision(entry, row) for row in [entry.raw, *rows(entry.raw.get("versions"))]]

    async def restore(self, file: Target, revision_id: str) -> Entry:
        entry = await self.entry(file)
        old = await self.download(entry.target, revision_id=revision_id)
        try:
            size = old.response.headers.get("content-length")
            parent, name = split(entry.path)
            content = Content(old.response.aiter_raw(), int(size) if size else None)
            return await self.upload(Upload(Target(Kind.FOLDER, path=parent), name, content, overwrite=True))
        finally:
            await old.response.aclose()

    async def comments(self, file: Target, part: Slice) -> CommentPage:
        path = await self._path(file)
        parameters: dict[str, str | int] = {
            "file": path,
            "offset": part.offset,
            "count": min(part.limit, _NOTE_LIMIT),
        }
        body = await self._json("GET", "/pubapi/v1/notes", params=parameters)
        found = [_comment(row) for row in rows(body.get("notes"))]
        return CommentPage(found, part.offset + len(found) < int(body.get("total_results") or 0))

    async def comment(self, file: Target, comment_id: str) -> Comment:
        return _comment(await self._json("GET", f"/pubapi/v1/notes/{segment(comment_id)}"))

    async def add_comment(self, file: Target, words: str) -> Comment:
        path = await self._path(file)
        note = await self._json("POST", "/pubapi/v1/notes", json={"path": path, "body": words})
        return await self.comment(file, str(note.get("id")))

    async def delete_comment(self, file: Target, comment_id: str) -> None:
        await self._upstream.call("DELETE", f"/pubapi/v1/notes/{segment(comment_id)}")

    async def lock(self, file: Target, lock: Lock) -> None:
        if lock.is_download_prevented:
            raise BadRequest("is_download_prevented: a lock of Egnyte cannot prevent downloads")
        wish: dict[str, Any] = {}
        if lock.expires_at is not None:
            wish["lock_timeout"] = math.ceil((lock.expires_at - datetime.now(UTC)).total_seconds())
        await self._lock("lock", file, wish)

    async def unlock(self, file: Target) -> None:
        await self._lock("unlock", file, {})

    async def collaborations(self, folder: Target) -> Sequence[Collaboration]:
        path = await self._path(folder)
        body = await self._json("GET", f"/pubapi/v1/perms/folder{quote(path)}")
        return [_collaboration(kind, row) for kind in ("user", "group") for row in rows(body.get(f"{kind}s"))]

    async def field_templates(self, scope: str | None) -> Sequence[FieldTemplate]:
        found = rows(decode(await self._upstream.get("/pubapi/v1/properties/namespace")))
        return [_template(row) for row in found if scope in (None, row.get("scope"))]

    async def custom_fields(self, entry: Entry) -> Sequence[FieldValues]:
        found = []
        for template in await self.field_templates(None):
            values = await self._json("GET", _properties(entry, template.key))
            if values:
                found.append(FieldValues(template.key, template.scope, values, values))
        return found

    async def set_custom_fields(
        self, entry: Entry, template: str, scope: str | None, values: Mapping[str, Any]
    ) -> FieldValues:
        await self._upstream.call("PUT", _properties(entry, template), json=dict(values))
        stored = await self._json("GET", _properties(entry, template))
        return FieldValues(template, scope or "", stored, stored)

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        return await changes.page(self._upstream, changes.Stream.of(self._configuration), cursor, limit)

    async def subscribe(self, url: str, secret: str, hooks: Sequence[str]) -> Hooks:
        wish = webhooks.Wish.of(url, secret, self._configuration)
        return await webhooks.subscribe(self._upstream, wish, hooks)

    async def unsubscribe(self, hooks: Sequence[str]) -> None:
        await webhooks.unsubscribe(self._upstream, hooks)

    @staticmethod
    def is_genuine(call: Call, secret: str | None, configuration: Mapping[str, str | None]) -> bool:
        return webhooks.is_genuine(call, secret)

    @staticmethod
    def announced(call: Call) -> Announcement:
        return webhooks.announced(call)

    async def _json(self, method: str, path: str, **call: Any) -> Mapping[str, Any]:
        return mapping(decode(await self._upstream.call(method, path, **call)))

    async def _path(self, target: Target) -> str:
        return target.path or (await self.entry(target)).path

    async def _refuse_existing(self, target: Target) -> None:
        try:
            await self.entry(target)
        except VendorNotFound:
            return
        raise Conflict(f"A file with the name '{split(target.path or '/')[1]}' already exists")

    async def _send(self, target: Target, data: bytes) -> Entry:
        headers = {"X-Sha512-Checksum": hashlib.sha512(data).hexdigest()}
        await self._upstream.call("POST", _content(target), content=data, headers=headers)
        return await self.entry(target)

    async def _stream(self, target: Target, content: Content) -> Entry:
        digest = hashlib.sha512()
        headers = {"Content-Length": str(content.size)}
        done = await self._upstream.stream(
            "POST", _content(target), lambda: content.rest(digest), content, headers=headers
        )
        stored = mapping(decode(done))
        checksum = text(stored.get("checksum")) or done.headers.get("x-sha512-checksum")
        entry = await self.entry(target)
        if checksum is not None and checksum.lower() != digest.hexdigest():
            await self._take_back(entry, text(stored.get("entry_id")))
            raise VendorUnavailable("what the vendor stored has another checksum than what was sent")
        return entry

    async def _take_back(self, entry: Entry, version_id: str | None) -> None:
        """Deletes the version, or the file where it has no other."""
        if not rows(entry.raw.get("versions")):
            await self.delete(entry, empty_trash=False)
        elif version_id is not None:
            file = Target(Kind.FILE, path=entry.path)
            await self._upstream.call("DELETE", _fs(file), params={"entry_id": version_id})

    async def _in_chunks(self, target: Target, content: Content) -> Entry:
        """Nothing can be seen before the last chunk has come; what was begun ends by itself after a day."""
        path = _content(target).replace("/fs-content", "/fs-content-chunked", 1)
        headers: dict[str, str] = {}
        number = 0
        with Chunk(hashlib.sha512) as one, Chunk(hashlib.sha512) as other:
            async with aclosing(ahead(chunks(content, _CHUNK, (one, other)))) as reading:
                async for chunk in reading:
                    number += 1
                    headers["X-Egnyte-Chunk-Num"] = str(number)
                    if chunk.is_last:
                        headers["X-Egnyte-Last-Chunk"] = "true"
                    answer = await self._send_chunk(path, chunk, headers)
                    headers.setdefault("X-Egnyte-Upload-Id", answer.get("x-egnyte-upload-id", ""))
        return await self.entry(target)

    async def _send_chunk(self, path: str, chunk: Chunk, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Sends it until Egnyte has it, and answers the headers that it came back with."""
        sized = {**headers, "Content-Length": str(len(chunk))}
        done = await self._upstream.stream("POST", path, chunk.pieces, headers=sized)
        checksum = done.headers.get("x-egnyte-chunk-sha512-checksum")
        if not chunk.is_last and checksum is None:
            raise VendorUnavailable("the vendor does not say what it holds")
        if checksum is not None and checksum.lower() != chunk.digest.hex():
            raise VendorUnavailable("the vendor holds another chunk than what was sent")
        return done.headers

    async def _transfer(self, action: str, entry: Entry, path: str) -> Entry:
        source = Target(entry.kind, path=entry.path)
        await self._json("POST", _fs(source), json={"action": action, "destination": path})
        return await self.entry(Target(entry.kind, path=path))

    async def _links(self, entry: Entry) -> list[Mapping[str, Any]]:
        body = await self._json("GET", "/pubapi/v2/links", params={"path": entry.path})
        return [row for row in rows(body.get("links")) if row.get("type") == entry.kind]

    async def _lock(self, action: str, file: Target, wish: Mapping[str, Any]) -> None:
        """The token of a lock is made from the file's id, so that whoever unlocks has it too."""
        entry = await self.entry(file)
        body = {"action": action, "lock_token": f"elements-gateway-{entry.id}", **wish}
        await self._upstream.call("POST", _fs(Target(Kind.FILE, path=entry.path)), json=body)


provider = Egnyte


def _entry(row: Mapping[str, Any]) -> Entry:
    """Folders and files spell their ids and times in different ways."""
    kind = Kind.FOLDER if row.get("is_folder") else Kind.FILE
    found = row.get("folder_id" if kind is Kind.FOLDER else "group_id") or row.get("group_id")
    if not found or not row.get("path"):
        raise VendorUnavailable("the vendor's answer is neither a file nor a folder")
    path = str(row["path"]).rstrip("/") or "/"
    name = split(path)[1]
    return Entry(
        id=str(found),
        kind=kind,
        name=name,
        path=path,
        size=row.get("size"),
        created_at=date(row.get("uploaded")),
        modified_at=date(row.get("last_modified") or row.get("lastModified")),
        parent_id=text(row.get("parent_id")),
        raw=row,
        mime_type=mimetypes.guess_type(name)[0] if kind is Kind.FILE else None,
    )


def _revision(entry: Entry, row: Mapping[str, Any]) -> Revision:
    return Revision(
        id=str(row.get("entry_id")),
        file_name=entry.name,
        size=row.get("size"),
        modified_at=date(row.get("last_modified")),
        raw=row,
    )


def _comment(row: Mapping[str, Any]) -> Comment:
    return Comment(
        id=str(row.get("id")),
        text=str(row.get("message") or ""),
        created_at=date(row.get("creation_time")),
        modified_at=None,
        author_id=text(row.get("username")),
        author_name=text(row.get("formatted_name")),
        raw=row,
    )


def _link(row: Mapping[str, Any], raw: Mapping[str, Any]) -> Link:
    url = text(row.get("url"))
    return Link(url, url, date(row.get("expiry_date") or raw.get("expiry_date")), raw)


def _collaboration(kind: str, row: Mapping[str, Any]) -> Collaboration:
    subject = str(row.get("subject"))
    return Collaboration(f"{kind}/{subject}", str(row.get("permission")), kind, subject, subject, row)


def _template(row: Mapping[str, Any]) -> FieldTemplate:
    name = str(row.get("name"))
    fields = [{"key": key, **mapping(facts)} for key, facts in mapping(row.get("keys")).items()]
    return FieldTemplate(name, str(row.get("displayName") or name), str(row.get("scope")), fields, row)


def _fs(target: Target) -> str:
    if target.id is not None:
        return f"/pubapi/v1/fs/ids/{target.kind}/{segment(target.id)}"
    return f"/pubapi/v1/fs{quote(target.path or '/')}"


def _at(entry: Entry) -> str:
    return _fs(entry.target)


def _content(file: Target) -> str:
    return _fs(file).replace("/fs/", "/fs-content/", 1)


def _properties(entry: Entry, template: str) -> str:
    return f"{_at(entry)}/properties/{segment(template)}"


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _kind(answer: Refusal) -> type[VendorError]:
    if _is_throttle(answer):
        return VendorThrottled
    if "inactive" in _mashery_code(answer):
        return VendorUnauthorized
    if answer.status >= 500 or answer.status < 400:
        return VendorUnavailable
    if answer.status == 403 and "already exists" in _words(answer):  # a folder; a file is a 409
        return VendorConflict
    known = {
        401: VendorUnauthorized,
        403: VendorForbidden,
        404: VendorNotFound,
        409: VendorConflict,
    }
    return known.get(answer.status, VendorRefused)


def _mashery_code(answer: Refusal) -> str:
    return answer.headers.get("x-mashery-error-code", "").lower()


def _is_throttle(answer: Refusal) -> bool:
    """429, or a 403 of the API gateway that says so; a bare 403 is about permissions."""
    return answer.status == 429 or "developer_over" in _mashery_code(answer)


def _words(answer: Refusal) -> str:
    """The message, whichever of the envelopes it came in; HTML without its tags."""
    body = answer.json()
    found = " ".join(dict.fromkeys(_messages(body))) if isinstance(body, dict) else ""
    return found or " ".join(re.sub(r"<[^>]*>", " ", answer.text()).split())


def _messages(body: Mapping[str, Any]) -> Iterator[str]:
    for key in ("errorMessage", "message", "error_description", "error"):
        if isinstance(body.get(key), str):
            yield body[key]
    lists = [body.get(key) for key in ("Errors", "errors", "formErrors")]
    fields = body.get("inputErrors")
    lists += list(fields.values()) if isinstance(fields, dict) else []
    for items in lists:
        for item in items if isinstance(items, list) else []:
            text = item.get("description") or item.get("msg") if isinstance(item, dict) else None
            if text:
                yield str(text)
