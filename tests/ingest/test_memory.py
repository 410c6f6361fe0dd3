"""What changes mean in the light of earlier ones: single rules, and a tree of files as a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hubs.documents import Change
from app.hubs.entries import object_key
from app.ingest.recollection import Recollection
from app.store.known_objects import Known, Moved

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
VERSION = ("UPDATED", "version")
TYPES = {"create": "CREATED", "upload": "CREATED", "restore": "CREATED", "delete": "DELETED"}


def change(number: int, verb: str, object_id: str, path: str | None = None, **more: Any) -> Change:
    values: dict[str, Any] = {
        "event_id": str(number),
        "event_type": TYPES.get(verb, "UPDATED"),
        "object_type": "file",
        "object_id": object_id,
        "date": NOW + timedelta(seconds=number),
        "change": verb,
        "raw": {},
        "path": path,
    }
    return Change(**values | more)


def told(*changes: Change, known: Iterable[Known] = ()) -> list[Change]:
    memory = Recollection(known, NOW)
    return [item for one in changes if (item := memory.meaning(one)) is not None]


def state(changes: Sequence[Change]) -> dict[str, tuple[str | None, bool]]:
    memory = Recollection([], NOW)
    for one in changes:
        memory.meaning(one)
    return {item.object_id: (item.path, item.deleted_at is None) for item in memory.touched()}


def test_an_upload_of_what_is_known_is_a_version() -> None:
    first, second = (change(n, "upload", "1", "/a", if_known=VERSION) for n in (1, 2))
    assert [(item.event_type, item.change) for item in told(first, second)] == [
        ("CREATED", "upload"),
        VERSION,
    ]


def test_an_upload_of_what_was_deleted_is_a_new_file() -> None:
    upload = change(3, "upload", "1", "/a", if_known=VERSION)
    assert told(change(1, "create", "1", "/a"), change(2, "delete", "1"), upload)[2].event_type == "CREATED"


@pytest.mark.parametrize(("sequence", "event_type"), [(None, "UPDATED"), (7, "CREATED")])
def test_a_living_file_at_the_path_is_the_same_one_where_a_vendor_does_not_number_its_changes(
    sequence: int | None, event_type: str
) -> None:
    upload = change(2, "create", "2", "/A", if_known=VERSION, sequence=sequence)
    assert told(change(1, "create", "1", "/a"), upload)[1].event_type == event_type


def test_a_change_by_path_has_the_id_that_was_last_known_there() -> None:
    deleted, again = (change(n, "delete", "/A/x", "/A/x", by_path=True) for n in (2, 3))
    found = told(change(1, "create", "g-1", "/a/x"), deleted, again)
    assert [item.object_id for item in found] == ["g-1"] * 3
    assert told(deleted)[0].object_id == "/A/x"


def test_a_move_by_path_is_found_where_the_file_was() -> None:
    move = change(2, "move", "/b", "/b", previous_path="/a", by_path=True)
    later = change(3, "comment", "/b", "/b", by_path=True)
    assert [item.object_id for item in told(change(1, "create", "g", "/a"), move, later)] == ["g"] * 3


def test_a_file_that_is_made_where_one_was_deleted_is_another_one() -> None:
    made = change(3, "create", "/a", "/a", by_path=True, if_known=VERSION)
    found = told(change(1, "create", "g", "/a"), change(2, "delete", "g"), made)[2]
    assert (found.object_id, found.event_type) == ("/a", "CREATED")


def test_a_file_that_is_made_where_one_was_moved_away_is_another_one() -> None:
    made = change(1, "create", "/a", "/a", by_path=True, if_known=VERSION)
    moved = change(2, "move", "/b", "/b", previous_path="/a", by_path=True)
    again = replace(made, event_id="3")
    gone = [change(4, "delete", path, path, by_path=True, event_id=path) for path in ("/b", "/a")]
    found = told(made, moved, again, *gone)
    assert [item.object_id for item in found] == ["/a", "/a", "/a#3", "/a", "/a#3"]
    assert found[2].event_type == "CREATED"
    assert [item.object_id for item in told(made, moved, gone[0], again)] == ["/a", "/a", "/a", "/a#3"]


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_dates_at_the_edges_of_the_calendar_are_dates(moment: datetime) -> None:
    gone = change(1, "delete", "1", "/a", date=moment)
    assert len(told(gone, change(2, "create", "1", "/a"), replace(gone, event_id="3"))) == 3


def test_what_lies_below_a_folder_follows_it_in_any_spelling() -> None:
    memory = Recollection([Known("file", "1", "/Straße/İx.txt", seen_at=NOW)], NOW)
    memory.meaning(change(1, "move", "8", "/c", previous_path="/STRASSE", object_type="folder"))
    memory.meaning(change(2, "move", "7", "/b", previous_path="/STRAßE", object_type="folder"))
    assert {item.object_id: item.path for item in memory.touched()}["1"] == "/b/İx.txt"


def test_what_the_vendor_leaves_out_is_as_it_was_known_last() -> None:
    made = change(1, "create", "1", "/a/x", parent_object_id="7")
    trashed = told(made, change(2, "trash", "1", event_type="DELETED"))[1]
    assert (trashed.path, trashed.name, trashed.parent_object_id) == ("/a/x", "x", "7")
    moved = told(made, change(2, "move", "1", "/b/x"))[1]
    assert (moved.previous_path, moved.parent_object_id) == ("/a/x", None)


def test_a_path_is_reckoned_from_the_parent() -> None:
    folder = change(1, "create", "7", "/b", object_type="folder")
    moved = change(3, "move", "1", name="y", parent_object_id="7")
    found = told(folder, change(2, "create", "1", "/a/x"), moved)[2]
    assert (found.path, found.previous_path) == ("/b/y", "/a/x")
    renamed = told(change(1, "create", "1", "/a/x"), change(2, "rename", "1", name="z"))[1]
    assert (renamed.path, renamed.previous_path) == ("/a/z", "/a/x")


def test_a_purge_of_what_is_deleted_says_nothing_new() -> None:
    made, gone = change(1, "create", "1", "/a"), change(2, "delete", "1")
    purge = change(3, "purge", "1", event_type="DELETED")
    assert len(told(made, gone, purge)) == 2
    assert [item.change for item in told(made, purge)] == ["create", "purge"]


def test_a_late_create_is_still_one_and_changes_nothing() -> None:
    update = change(2, "upload", "1", "/new", sequence=5, event_type="UPDATED")
    late = change(1, "upload", "1", "/old", sequence=4, if_known=VERSION)
    found = told(update, late, change(3, "comment", "1", sequence=5))
    assert [item.event_type for item in found] == ["UPDATED", "CREATED", "UPDATED"]
    assert found[2].path == "/new"


def test_a_late_event_never_revives_what_a_later_one_deleted() -> None:
    made = change(1, "create", "1", "/a/x", sequence=1)
    late = change(2, "upload", "1", "/a/x", sequence=2, event_type="UPDATED")
    for gone in (
        change(3, "trash", "1", sequence=3, event_type="DELETED"),
        change(3, "trash", "7", "/a", object_type="folder", event_type="DELETED"),
    ):
        assert state([made, gone, late])["1"] == ("/a/x", False)


def test_a_remark_does_not_revive_and_a_restore_does() -> None:
    gone = [change(1, "create", "1", "/a"), change(2, "delete", "1")]
    assert state([*gone, change(3, "comment", "1", "/a")])["1"] == ("/a", False)
    assert state([*gone, change(3, "restore", "1", "/b")])["1"] == ("/b", True)


def test_a_restored_folder_brings_back_what_fell_with_it_and_nothing_else() -> None:
    events = [
        change(1, "create", "7", "/a", object_type="folder"),
        change(2, "create", "1", "/a/x"),
        change(3, "create", "2", "/a/y"),
        change(4, "delete", "1", "/a/x"),
        change(4, "delete", "7", "/A", object_type="folder", event_id="fall"),
    ]
    assert state(events) == {"7": ("/A", False), "1": ("/A/x", False), "2": ("/A/y", False)}
    back = state([*events, change(6, "restore", "7", "/b", object_type="folder")])
    assert back == {"7": ("/b", True), "1": ("/b/x", False), "2": ("/b/y", True)}


def test_a_folder_says_once_that_it_moves_and_its_files_follow() -> None:
    moved = change(3, "move", "7", "/c/b", previous_path="/a", object_type="folder")
    gone = change(4, "delete", "/c/b/x", "/c/b/x", by_path=True)
    beside = change(2, "create", "2", "/ab")
    memory = Recollection([Known("file", "1", "/a/x", seen_at=NOW)], NOW)
    found = [memory.meaning(one) for one in (beside, moved, gone)]
    assert [item.object_id for item in found if item] == ["2", "7", "1"]
    assert memory.following == [Moved("/a", "/c/b")]


def test_what_is_no_file_and_what_is_unknown_passes() -> None:
    odd = [
        change(1, "grant", "1", object_type="instance"),
        change(2, "X", "1", event_type="UNKNOWN"),
        change(3, "row", "1", body={"a": 1}, if_known=VERSION),
    ]
    assert told(*odd) == odd
    assert state(odd) == {}


def test_long_ids_have_keys_of_a_bounded_length() -> None:
    keys = {object_key("file", "x" * length) for length in range(150, 400)}
    assert len(keys) == 250
    assert max(map(len, keys)) <= 200


# A tree as a model

NAMES = st.sampled_from("abc")
STEPS = st.lists(st.tuples(st.sampled_from(["file", "folder", "move", "delete", "restore"]), NAMES, NAMES))


class Tree:
    """The naive model: every file and folder with its path, and the deletions that hid it."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.fell: dict[str, int] = {}
        self.events: list[Change] = []

    def living(self) -> dict[str, str]:
        return {path: key for key, path in self.paths.items() if key not in self.fell}

    def below(self, path: str) -> list[str]:
        return [key for key, other in self.paths.items() if other.startswith(path + "/")]

    def emit(self, verb: str, key: str, path: str, **more: Any) -> None:
        kind = "folder" if key.startswith("d") else "file"
        self.events.append(change(len(self.events), verb, key, path, object_type=kind, **more))

    def step(self, verb: str, one: str, other: str) -> None:
        living, number = self.living(), len(self.events)
        folders = ["", *sorted(path for path, key in living.items() if key.startswith("d"))]
        path = f"{folders[ord(one) % len(folders)]}/{other}"
        if verb in {"file", "folder"} and path not in living:
            key = f"{'d' if verb == 'folder' else 'f'}{number}"
            self.paths[key] = path
            self.emit("create", key, path)
        elif verb == "move" and living:
            start = sorted(living)[ord(other) % len(living)]
            if path not in living and not path.startswith(start + "/"):
                self.emit("move", living[start], path, previous_path=start)
                for key in [living[start], *self.below(start)]:
                    self.paths[key] = path + self.paths[key][len(start) :]
        elif verb == "delete" and living:
            start = sorted(living)[ord(other) % len(living)]
            self.emit("delete", living[start], start)
            for key in [living[start], *self.below(start)]:
                self.fell.setdefault(key, number)
        elif verb == "restore":
            self._restore(living)

    def _restore(self, living: dict[str, str]) -> None:
        """Brings back the object whose deletion was the last, unless its place or its folder is gone."""
        own = [key for key, at in self.fell.items() if self.events[at].object_id == key]
        for key in own[-1:]:
            path, at = self.paths[key], self.fell[key]
            parent = path.rpartition("/")[0]
            if path not in living and (not parent or parent in living):
                self.emit("restore", key, path)
                self.fell = {other: when for other, when in self.fell.items() if when != at}

    def expected(self) -> dict[str, tuple[str | None, bool]]:
        return {key: (path, key not in self.fell) for key, path in self.paths.items()}


def tree(steps: Iterable[tuple[str, str, str]]) -> Tree:
    grown = Tree()
    for step in steps:
        grown.step(*step)
    return grown


@given(STEPS)
def test_the_memory_is_the_tree(steps: list[tuple[str, str, str]]) -> None:
    grown = tree(steps)
    assert state(grown.events) == grown.expected()


@given(STEPS, st.randoms(use_true_random=False))
def test_events_in_any_order_are_each_told_once(steps: list[tuple[str, str, str]], chance: Any) -> None:
    events = tree(steps).events
    numbered = [replace(item, sequence=number) for number, item in enumerate(events)]
    chance.shuffle(numbered)
    found = told(*numbered)
    assert [item.event_id for item in found] == [item.event_id for item in numbered]


@given(st.permutations([1, 2, 3, 4, 5, 6]), st.integers(1, 6))
def test_numbered_changes_of_one_file_end_the_same_in_any_order(order: list[int], gone: int) -> None:
    events = {
        number: change(number, "delete" if number == gone else "upload", "1", f"/{number}", sequence=number)
        for number in order
    }
    assert state([events[number] for number in order]) == {"1": ("/6", gone != 6)}
