"""How Egnyte shows files and folders: developers.egnyte.com, File System Management API."""

from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.sandbox.egnyte.domain import Domain
from app.sandbox.egnyte.locks import lock_info, lock_of
from app.sandbox.world import File, Folder, MissingError, Node, Version, path_of


class Listing(BaseModel):
    """The parameters of a look at the file system."""

    list_content: bool = True
    count: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0)
    sort_by: Literal["name", "last_modified", "size"] = "name"
    sort_direction: Literal["ascending", "descending"] = "ascending"
    include_locks: bool = False
    list_custom_metadata: bool = False
    entry_id: str | None = None


def version_of(file: File, entry_id: str | None) -> Version:
    """One version of a file; the newest without an id."""
    if entry_id is None:
        return file.current
    found = next((version for version in file.versions if version.id == entry_id), None)
    if found is None:
        raise MissingError(f"No version {entry_id}")
    return found


def epoch_ms(at: datetime) -> int:
    """A time as Egnyte writes it in most places."""
    return int(at.timestamp() * 1000)


def http_date(at: datetime) -> str:
    """A time as a header, and as the files of a listing have it."""
    return format_datetime(at, usegmt=True)


def metadata(domain: Domain, node: Node, listing: Listing) -> dict[str, Any]:
    """A file with its older versions, or a folder with one page of what it holds."""
    if isinstance(node, Folder):
        return _folder_page(domain, node, listing)
    shown = _file_row(domain, node, version_of(node, listing.entry_id), listing)
    shown["versions"] = [_version_row(version) for version in node.versions[-2::-1]]
    return shown


def _folder_page(domain: Domain, folder: Folder, listing: Listing) -> dict[str, Any]:
    shown = _folder_row(domain, folder, listing) | {
        "parent_id": folder.parent.id if folder.parent else None,
        "folder_description": "",
        "public_links": "files_folders",
        "allow_links": True,
        "restrict_move_delete": False,
    }
    if not listing.list_content:
        return shown
    nodes = _sorted(folder, listing)
    page = nodes[listing.offset : listing.offset + listing.count]
    folders = [_folder_row(domain, node, listing) for node in page if isinstance(node, Folder)]
    files = [_file_row(domain, node, node.current, listing) for node in page if isinstance(node, File)]
    numbers = {"count": len(page), "offset": listing.offset, "total_count": len(nodes)}
    return shown | numbers | {"folders": folders, "files": files}


def _sorted(folder: Folder, listing: Listing) -> list[Node]:
    """Folders before files, each in the wanted order; what is alike comes by name."""

    def key(node: Node) -> Any:
        name = (node.name.lower(), node.name)
        match listing.sort_by:
            case "last_modified":
                return (node.modified if isinstance(node, Folder) else node.current.modified), name
            case "size":
                return (0 if isinstance(node, Folder) else len(node.current.content)), name
        return name

    nodes = sorted(folder.children.values(), key=key, reverse=listing.sort_direction == "descending")
    return sorted(nodes, key=lambda node: isinstance(node, File))


def _folder_row(domain: Domain, folder: Folder, listing: Listing) -> dict[str, Any]:
    row = {
        "name": folder.name,
        "path": path_of(folder),
        "folder_id": folder.id,
        "is_folder": True,
        # Folders and files differ in the name and in the form of this field.
        "lastModified": epoch_ms(folder.modified),
        "uploaded": epoch_ms(folder.modified),
    }
    return row | _custom_metadata(domain, folder, listing)


def _version_row(version: Version) -> dict[str, Any]:
    return {
        "entry_id": version.id,
        "checksum": version.checksum,
        "size": len(version.content),
        "is_folder": False,
        "last_modified": http_date(version.modified),
        "uploaded": epoch_ms(version.uploaded),
        "uploaded_by": version.by.username,
    }


def _file_row(domain: Domain, file: File, version: Version, listing: Listing) -> dict[str, Any]:
    lock = lock_of(file)
    row = _version_row(version) | {
        "name": file.name,
        "path": path_of(file),
        "group_id": file.id,
        "parent_id": file.parent.id if file.parent else None,
        "locked": lock is not None,
        "num_versions": len(file.versions),
    }
    if listing.include_locks and lock is not None:
        row["lock_info"] = lock_info(lock)
    return row | _custom_metadata(domain, file, listing)


def _custom_metadata(domain: Domain, node: Node, listing: Listing) -> dict[str, Any]:
    if not listing.list_custom_metadata:
        return {}
    return {"custom_metadata": domain.custom_metadata.rows(node.id)}
