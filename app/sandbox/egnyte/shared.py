"""The pages behind shared links, which nobody needs a token for."""

from html import escape
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.sandbox.egnyte.access import DomainDep, RefusalError
from app.sandbox.egnyte.domain import Domain, Link
from app.sandbox.egnyte.downloads import send_content
from app.sandbox.egnyte.paths import PathDep
from app.sandbox.world import File, Folder, MissingError, Node, path_of

router = APIRouter()


@router.get("/dl/{link_id}", response_model=None)
async def download(domain: DomainDep, link_id: str, request: Request) -> Response:
    """The file of a link, as it is now."""
    link = _open(domain, link_id, "file")
    link.clicks += 1
    return _attached(link.node, request)


@router.get("/fl/{link_id}", response_model=None)
async def folder(domain: DomainDep, link_id: str, request: Request) -> Response:
    """What the folder of a link holds."""
    link = _open(domain, link_id, "folder")
    link.clicks += 1
    return _page(link.node, link, request)


@router.get("/fl/{link_id}/{path:path}", response_model=None)
async def below_folder(domain: DomainDep, link_id: str, path: PathDep, request: Request) -> Response:
    """A file or folder below the folder of a link; that is no further click."""
    link = _open(domain, link_id, "folder", grace=1)
    try:
        node = domain.world.find(link.path + path)
    except MissingError:
        raise _gone() from None
    return _page(node, link, request) if isinstance(node, Folder) else _attached(node, request)


@router.get("/ul/{link_id}", response_model=None)
async def upload_page(domain: DomainDep, link_id: str) -> Response:
    """Only says that the link is there: what a visitor uploads has no place in the public API."""
    link = _open(domain, link_id, "upload")
    return HTMLResponse(f"<!doctype html><meta charset=utf-8><h1>Upload to {escape(link.node.name)}</h1>")


def _gone() -> RefusalError:
    return RefusalError(HTMLResponse("<h1>This link does not exist or has expired</h1>", status_code=404))


def _open(domain: Domain, link_id: str, kind: str, *, grace: int = 0) -> Link:
    link = domain.links.get(link_id)
    if link is None or link.kind != kind or link.is_expired(grace) or not domain.holds(link.node):
        raise _gone()
    return link


def _attached(node: Node, request: Request) -> Response:
    if not isinstance(node, File):
        raise _gone()
    disposition = f"attachment; filename*=UTF-8''{quote(node.name, safe='')}"
    return send_content(node, node.current, request, {"Content-Disposition": disposition})


def _page(node: Node, link: Link, request: Request) -> Response:
    rows = []
    for child in node.children.values() if isinstance(node, Folder) else ():
        below = path_of(child).removeprefix(link.path)
        href = quote(f"{request.scope['root_path']}/fl/{link.id}{below}")
        rows.append(f'<li><a href="{escape(href)}">{escape(child.name)}</a>')
    return HTMLResponse(
        f"<!doctype html><meta charset=utf-8><h1>{escape(node.name)}</h1><ul>{''.join(rows)}</ul>"
    )
