"""Changes that somebody else makes, as if through the vendor's own clients."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.egnyte.domain import Domain
from app.sandbox.history import Actor

Action = Literal[
    "upload", "folder", "move", "rename", "copy", "delete", "restore", "note", "note_delete", "permission"
]


class ChangeOrder(BaseModel):
    """What somebody does, and how many times; `{n}` in a text is the number of the turn, from 0."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    path: str = Field("", description="What is changed.")
    destination: str = Field("", description="New path of a move, rename or copy.")
    content: str = Field("", description="Text of a file or note.")
    note_id: str = Field("", description="The note to delete.")
    subject: str = Field("/user/122", description="Who gets a permission: /user/<id> or /group/<id>.")
    level: str = Field("READWRITE", description="NONE, VIEWER_ONLY, READ, READWRITE, RWD or MODIFY.")
    user: str = Field("adoe", description="Who does it.")
    source: str = Field("WebUI", description="The `action_source` of the event.")
    count: int = Field(1, ge=1, le=1_000_000)

    def turn(self, n: int) -> "ChangeOrder":
        """The order for one turn."""
        if self.count == 1:
            return self
        texts = ("path", "destination", "content")
        return self.model_copy(update={name: getattr(self, name).replace("{n}", str(n)) for name in texts})


def _move(domain: Domain, order: ChangeOrder, actor: Actor) -> None:
    domain.world.move(order.path, order.destination, actor)


_ACTIONS: Mapping[Action, Callable[[Domain, ChangeOrder, Actor], object]] = {
    "upload": lambda domain, order, actor: domain.world.upload(order.path, order.content.encode(), actor),
    "folder": lambda domain, order, actor: domain.world.add_folder(order.path, actor),
    "move": _move,
    "rename": _move,
    "copy": lambda domain, order, actor: domain.world.copy(order.path, order.destination, actor),
    "delete": lambda domain, order, actor: domain.world.delete(order.path, actor),
    "restore": lambda domain, order, actor: domain.world.restore(order.path, actor),
    "note": lambda domain, order, actor: domain.add_note(order.path, order.content, actor),
    "note_delete": lambda domain, order, actor: domain.delete_note(order.note_id, actor),
    "permission": lambda domain, order, actor: domain.world.permit(
        order.path, [order.subject], order.level, actor
    ),
}


def apply(domain: Domain, order: ChangeOrder) -> dict[str, int]:
    """Carries the order out and answers the ids that it spans."""
    actor = Actor(domain.world.user(order.user), order.source)
    before = domain.world.history.latest_id
    for n in range(order.count):
        _ACTIONS[order.action](domain, order.turn(n), actor)
    return {"changes": order.count, "after_id": before, "latest_id": domain.world.history.latest_id}
