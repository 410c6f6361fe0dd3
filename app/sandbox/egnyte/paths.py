"""Paths in Egnyte: developers.egnyte.com, File System Management API Documentation."""

from typing import Annotated

from fastapi import Depends, Request

from app.sandbox.egnyte.access import refuse
from app.sandbox.world import segments

_LONGEST_NAME = 255


def checked_path(path: str) -> str:
    """The path, with the slashes where they belong, if something can have it."""
    names = segments(path)
    for name in names:
        if name in (".", ".."):
            raise refuse(400, f"Invalid path: {name} is no name")
        if len(name) > _LONGEST_NAME:
            raise refuse(400, f"Invalid path: a name has more than {_LONGEST_NAME} characters")
    return "/" + "/".join(names)


def requested_path(request: Request) -> str:
    """The path of the file or folder; the root has none."""
    path: str = request.path_params.get("path", "")
    return checked_path(path)


PathDep = Annotated[str, Depends(requested_path)]
