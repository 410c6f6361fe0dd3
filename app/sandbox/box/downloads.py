"""Contents: a file answers with an address, and the address with the content."""

import secrets
import time

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.sandbox.box.access import CallerDep, EnterpriseDep, base_url, path_id
from app.sandbox.box.domain import Download, Enterprise
from app.sandbox.box.errors import not_found
from app.sandbox.box.items import Content
from app.sandbox.box.sending import send_content
from app.sandbox.box.versions import find_version

router = APIRouter()


@router.get("/2.0/files/{file_id}/content", response_model=None)
async def download(caller: CallerDep, file_id: str, request: Request, version: str | None = None) -> Response:
    """Sends the client to where the content is."""
    enterprise = caller.enterprise
    file = enterprise.tree.file(path_id(file_id))
    if file.lock is not None and file.lock.prevents_download:
        enterprise.tree.check_unlocked(file, caller.actor)
    wanted = file.current if version is None else find_version(file, version)
    if enterprise.settings.download_events:
        enterprise.journal.record("ITEM_DOWNLOAD", caller.actor, file)
    token = _remember(enterprise, file.name, wanted.content)
    return RedirectResponse(f"{base_url(request)}/dl/{token}", status_code=302)


@router.get("/dl/{token}", response_model=None)
async def content(enterprise: EnterpriseDep, token: str, request: Request) -> Response:
    """The content behind an address, for everybody who has it."""
    found = enterprise.downloads.get(token)
    if found is None or time.monotonic() >= found.until:
        raise not_found("download", token)
    return send_content(found.name, found.content, request)


def _remember(enterprise: Enterprise, name: str, content: Content) -> str:
    now, downloads = time.monotonic(), enterprise.downloads
    # The oldest come first, so this never looks at more than have ended.
    while downloads and (oldest := next(iter(downloads))) and downloads[oldest].until <= now:
        del downloads[oldest]
    token = secrets.token_urlsafe(24)
    downloads[token] = Download(name, content, now + enterprise.settings.download_url_seconds)
    return token
