"""JSON patches (RFC 6902) of flat objects, which is all that Box's metadata is."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.box.errors import bad_request


class Operation(BaseModel):
    """One step of a patch."""

    model_config = ConfigDict(extra="ignore")

    op: Literal["add", "replace", "remove", "test", "move", "copy"]
    path: str
    value: Any = None
    source: str = Field("", alias="from")


def patched(values: Mapping[str, Any], steps: list[Operation]) -> dict[str, Any]:
    """The values after all steps; a step that fails leaves everything as it was."""
    result = dict(values)
    for step in steps:
        _apply(result, step)
    return result


def _apply(values: dict[str, Any], step: Operation) -> None:
    key = _key(step.path)
    match step.op:
        case "add":
            values[key] = step.value
        case "replace":
            _take(values, key)
            values[key] = step.value
        case "remove":
            _take(values, key)
        case "test":
            if key not in values or values[key] != step.value:
                raise bad_request(f"'{step.path}' does not have that value", "test")
        case "move":
            values[key] = _take(values, _key(step.source))
        case "copy":
            source = _key(step.source)
            values[key] = values[source] = _take(values, source)


def _key(pointer: str) -> str:
    if not pointer.startswith("/"):
        raise bad_request(f"'{pointer}' is no JSON pointer", "path")
    return pointer[1:].replace("~1", "/").replace("~0", "~")


def _take(values: dict[str, Any], key: str) -> Any:
    if key not in values:
        raise bad_request(f"'/{key}' does not exist", "path")
    return values.pop(key)
