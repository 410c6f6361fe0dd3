"""What customers note about files and folders, by namespace and key."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.sandbox.world import MissingError, TakenError, WorldError

Values = dict[str, Any]


class UnfitError(WorldError):
    """A value, key or namespace that custom metadata cannot take."""


class Key(BaseModel):
    """What the values of a key look like; a name for people and the like come back as they were sent."""

    model_config = ConfigDict(extra="allow")

    type: Literal["string", "integer", "decimal", "date", "enum"]
    data: list[str] = Field([], description="The values of an enum.")

    @model_validator(mode="after")
    def _enum_has_values(self) -> "Key":
        if (self.type == "enum") != bool(self.data):
            raise ValueError("data belongs to an enum, and an enum needs it")
        return self

    def fits(self, value: Any) -> bool:
        """Whether a key of this type can have that value."""
        match self.type:
            case "integer":
                return type(value) is int
            case "decimal":
                return type(value) in (int, float)
            case "enum":
                return value in self.data
            case "date":
                return isinstance(value, str) and _is_date(value)
        return isinstance(value, str)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class Namespace(BaseModel):
    """A group of keys."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w.-]+$")
    scope: Literal["public", "protected", "private"]
    keys: dict[str, Key] = Field(min_length=1)

    def shown(self) -> dict[str, Any]:
        """The namespace as it was sent."""
        return self.model_dump(exclude_unset=True)


class CustomMetadata:
    """The namespaces of a domain and the values under them, by the id of a file or folder."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self._values: dict[str, dict[str, Values]] = {}

    def add(self, namespace: Namespace) -> None:
        """Keeps a new namespace."""
        if namespace.name in self.namespaces:
            raise TakenError(f"The namespace {namespace.name} exists already")
        self.namespaces[namespace.name] = namespace

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name."""
        if name not in self.namespaces:
            raise MissingError(f"No namespace {name}")
        return self.namespaces[name]

    def values(self, node_id: str, name: str) -> Values:
        """The values of a node under one namespace."""
        self._known(name)
        return dict(self._values.get(node_id, {}).get(name, {}))

    def merge(self, node_id: str, name: str, changes: Values) -> Values:
        """Sets values, all or none; null takes a value away, and what is not named stays."""
        namespace = self._known(name)
        for key, value in changes.items():
            if key not in namespace.keys:
                raise UnfitError(f"The namespace {name} has no key {key}")
            if value is not None and not namespace.keys[key].fits(value):
                raise UnfitError(f"The value of {key} is no {namespace.keys[key].type}")
        merged = {**self.values(node_id, name), **changes}
        kept = {key: value for key, value in merged.items() if value is not None}
        self._values.setdefault(node_id, {})[name] = kept
        return dict(kept)

    def rows(self, node_id: str) -> list[dict[str, Any]]:
        """Every value of a node, as a listing shows them."""
        return [
            {"scope": self.namespaces[name].scope, "namespace": name, "key": key, "value": value}
            for name, values in self._values.get(node_id, {}).items()
            for key, value in values.items()
        ]

    def forget(self, node_id: str) -> None:
        """Drops the values of what is gone for good."""
        self._values.pop(node_id, None)

    def _known(self, name: str) -> Namespace:
        if name not in self.namespaces:
            raise UnfitError(f"Unknown namespace {name}")
        return self.namespaces[name]
