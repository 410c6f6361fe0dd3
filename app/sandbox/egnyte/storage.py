"""The files of a domain, with a trash that can be looked through."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.sandbox.history import Actor, History, User
from app.sandbox.world import MissingError, Node, World, ref_to


@dataclass(frozen=True, slots=True)
class Trashed:
    """Something in the trash."""

    path: str
    node: Node
    deleted: datetime
    by: User


class Storage(World):
    """A world that knows who deleted what, and brings back or purges one thing by its id."""

    def __init__(self, *, roots: tuple[str, ...], history: History, new_id: Callable[[], str]) -> None:
        super().__init__(roots=roots, history=history, new_id=new_id)
        self._deletions: dict[str, tuple[datetime, User]] = {}

    def delete(self, path: str, actor: Actor) -> None:
        """Puts a node into the trash, with all that is below it."""
        node = self.find(path)
        super().delete(path, actor)
        # The trash forgets the oldest when it is full, and so does this.
        self._deletions[node.id] = (datetime.now(UTC), actor.user)
        if len(self._deletions) > self._TRASH:
            del self._deletions[next(iter(self._deletions))]

    def restore(self, path: str, actor: Actor) -> Node:
        """Takes what was deleted last at that path out of the trash."""
        node = super().restore(path, actor)
        del self._deletions[node.id]
        return node

    def trash(self) -> list[Trashed]:
        """What is in the trash, newest first."""
        return [Trashed(path, node, *self._deletions[node.id]) for path, node in reversed(self._trash)]

    def trashed(self, node_id: str) -> Trashed:
        """What is in the trash under that id."""
        found = next((item for item in self.trash() if item.node.id == node_id), None)
        if found is None:
            raise MissingError(f"Nothing in the trash with id {node_id}")
        return found

    def restore_id(self, node_id: str, actor: Actor) -> Node:
        """Takes one thing out of the trash, back to where it was."""
        item = self.trashed(node_id)
        item.node.parent, item.node.name = self._free_place(item.path, item.node, actor)
        self._drop(item)
        self._attach(item.node)
        self.history.record("restore", actor, ref_to(item.node))
        return item.node

    def purge(self, node_id: str) -> Node:
        """Ends one thing in the trash for good; Egnyte's event stream does not tell."""
        item = self.trashed(node_id)
        self._drop(item)
        return item.node

    def _drop(self, item: Trashed) -> None:
        self._trash.remove((item.path, item.node))
        del self._deletions[item.node.id]
