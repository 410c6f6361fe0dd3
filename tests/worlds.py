"""Accounts that own one of everything, and the requests that try to reach it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gateway as gateways
import httpx
from acme import consent
from box_account import opened
from gateway import Gateway
from people import PASSWORD

from app.hubs.documents import Change
from app.ingest import intake
from app.ingest.events import Origin
from app.ingest.vendor_webhooks import WebhookWorker
from app.main import BASE_PATH
from app.settings import Settings
from app.store import instances
from app.store.tables import Via
from app.tenancy import tenants

FAR = 7_000_000_000
"""Ids of a victim begin here, so that none of them is found in an answer by chance."""

NOBODY = "numbat"

Things = Mapping[str, Sequence[str]]
"""What fits into the place of that name in a request."""

ELEMENTS = {"egnyte": ("acme", "globex"), "box": ("ann", "bob")}
"""The accounts at the vendors: the victim's, and the attacker's."""

PUBLIC_NAMES: dict[str, str] = {
    "hub": "documents",
    "key": "documents",
    "keyOrId": "egnyte",
    "type": "oauth2",
    "image": "elements/egnyte.svg",
    "operationId": "ping",
    "configId": "subdomain",
    "name": "files",
    "templateKey": "properties",
    "baseUrl": "https://docs.example.com",
    "interval": "hour",
    "apiKey": "client",
    "callbackUrl": "https://app.example.com/oauth",
    "startDate": "2026-01-01",
    "endDate": "2026-01-02",
    "expires": "2999-01-01",
    "from": "2026-01-01T00:00:00Z",
    "to": "2999-01-01T00:00:00Z",
    "orderBy": "name asc",
}
"""What stands for nobody's things: words of the surface itself, and times."""


_SAYS_HOW = {"fields", "scope", "description", "eventType", "objectType", "version", "discovery", "basic"}
"""Texts of a query that name nothing."""

_LOOKS_NOTHING_UP = {
    "action": "a word of the audit itself",
    "apiSecret": "no part of the URL of a consent page",
    "oauthProxyName": "the same",
    "requestToken": "the same",
    "siteAddress": "the same",
    "subdomain": "a part of that URL, which nobody is asked about",
    "state": "to make that URL it is handed on; what a state leads to is for whoever has it, once",
    "provider": "the kinds of vendors",
    "resolveReferences": "a switch of the documents",
}
"""Texts of a query that no row is looked for by, and why."""


@dataclass(frozen=True)
class World:
    """One account: who calls in its name, and its things by the places of requests that they fit into."""

    word: str
    headers: dict[str, str]
    organization: str
    user: str
    tokens: dict[str, str]
    account_id: int
    organization_id: int
    things: Things

    def hub(self, element: str) -> dict[str, str]:
        return {"Authorization": f"User {self.user}, Element {self.tokens[element]}"}

    @property
    def values(self) -> set[str]:
        """What is found in no answer; a subject is an id with a word before it."""
        return {value for name, found in self.things.items() for value in found if name != "subject"}


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the application's own document describes it."""

    method: str
    path: str
    described: Mapping[str, Any]
    body: Any

    @property
    def name(self) -> str:
        return f"{self.method} {self.path.removeprefix(BASE_PATH)}"

    @property
    def is_public(self) -> bool:
        return not self.described.get("security")

    @property
    def is_of_a_hub(self) -> bool:
        return self.name.split(" ")[1].startswith(("/hubs/{hub}/", "/native/"))

    @property
    def names_something_new(self) -> bool:
        """Whether its path is one that will be, and leads to nothing yet."""
        return self.name in {"POST /hubs/{hub}/files", "POST /hubs/{hub}/folders"}

    def places(self, where: str) -> list[Mapping[str, Any]]:
        return [item for item in self.described.get("parameters", ()) if item["in"] == where]


@dataclass(frozen=True)
class Probe:
    """A request with somebody's things in it; `sent` are those."""

    method: str
    url: str
    query: dict[str, str]
    body: Any
    file: bool
    sent: tuple[str, ...]

    async def ask(self, http: httpx.AsyncClient, headers: Mapping[str, str]) -> httpx.Response:
        files = {"file": ("a.txt", b"x")} if self.file else None
        return await http.request(
            self.method, self.url, params=self.query, json=self.body, files=files, headers=dict(headers)
        )


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of the document; nobody names them one by one."""
    return [
        Operation(method.upper(), path, described, _example(described, document["components"]["schemas"]))
        for path, methods in sorted(document["paths"].items())
        for method, described in sorted(methods.items())
    ]


def _example(described: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """A body as the document itself shows it; None where there is none."""
    media = described.get("requestBody", {}).get("content", {})
    content = media.get("application/json") or media.get("*/*")
    if content is None:
        return None
    schema = content["schema"]
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            schema = schemas[option["$ref"].rpartition("/")[2]]
    return content.get("example") or schema.get("example") or next(iter(schema.get("examples", ())), {})


def probes(operation: Operation, things: Things) -> Iterator[Probe]:
    """Requests that put things into every place: all of the path and one of the query or the body at a time.
    The same things give the same requests in the same order."""
    if operation.names_something_new:
        things = {name: found for name, found in things.items() if name != "path"}
    paths = operation.places("path")
    choices = [_fitting(operation.path, item, things) for item in paths]
    required = {
        item["name"]: _of_query(item, things)[0] for item in operation.places("query") if item.get("required")
    }
    for number in range(max([1, *map(len, choices)])):
        chosen = [options[number % len(options)] for options in choices]
        yield _probe(operation, paths, chosen, required, operation.body)
    chosen = [options[0] for options in choices]
    for item in operation.places("query"):
        for value in _of_query(item, things):
            yield _probe(operation, paths, chosen, {**required, item["name"]: value}, operation.body)
    if isinstance(operation.body, dict):
        for body in _bodies(operation.body, things):
            yield _probe(operation, paths, chosen, required, body)


def _probe(
    operation: Operation,
    paths: Sequence[Mapping[str, Any]],
    chosen: Sequence[str],
    query: dict[str, str],
    body: Any,
) -> Probe:
    path = operation.path
    for item, value in zip(paths, chosen, strict=True):
        escaped = value if item["name"] == "rest" else quote(value, safe="")
        path = path.replace(f"{{{item['name']}}}", escaped)
    sent = (*chosen, *query.values(), *_texts(body))
    is_file = "multipart/form-data" in operation.described.get("requestBody", {}).get("content", {})
    return Probe(operation.method, f"http://gateway{path}", query, body, is_file, sent)


def _fitting(path: str, item: Mapping[str, Any], things: Things) -> Sequence[str]:
    """What fits into a place of a path. A name that nobody knows gets every id, or every text."""
    name = item["name"]
    if name in PUBLIC_NAMES:
        return [PUBLIC_NAMES[name]]
    before = path.partition(f"/{{{name}}}")[0].rpartition("/")[2]
    if name == "id" and before in things:
        return things[before]
    if name in things:
        return things[name]
    numbers = item["schema"].get("type") == "integer"
    return sorted({value for found in things.values() for value in found if value.isdigit() or not numbers})


def _of_query(item: Mapping[str, Any], things: Things) -> Sequence[str]:
    """What fits into a place of the query; switches and sizes name nothing.

    Raises LookupError for a text that nobody has thought of: its things belong into a world.
    """
    if item["name"] in PUBLIC_NAMES:
        return [PUBLIC_NAMES[item["name"]]]
    if item["name"] == "path" and "path" not in things:
        return []
    kinds = {option.get("type") for option in (item["schema"], *item["schema"].get("anyOf", ()))}
    if item["name"] in things:
        return things[item["name"]]
    if not kinds & {"string", "array"} or item["name"] in _SAYS_HOW:
        return []
    if item["name"] not in _LOOKS_NOTHING_UP:
        raise LookupError(f"{item['name']}: what of a world fits into this place of a query?")
    return things["word"]


def _bodies(example: Mapping[str, Any], things: Things) -> Iterator[dict[str, Any]]:
    """The example with what nobody may set, and with each of the things that it has a place for."""
    numbers = {name: int(things[place][0]) for name, place in _MASS.items()}
    yield {**example, **numbers, "token": things["word"][0], "createdDate": "2001-01-01T00:00:00Z"}
    for name in example:
        for value in things.get(name, ()):
            yield {**example, name: [value] if isinstance(example[name], list) else value}


_MASS = {
    "id": "instances",
    "accountId": "accounts",
    "account_id": "accounts",
    "organizationId": "organizations",
    "organization_id": "organizations",
    "userId": "userIds",
    "user_id": "userIds",
    "instanceId": "instances",
}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case None:
            return
        case _:
            yield str(value)


def nobodys(world: World) -> Things:
    """Things of the same forms that nobody has."""
    return {name: [_nobodys(value, world.word) for value in found] for name, found in world.things.items()}


def _nobodys(value: str, word: str) -> str:
    other = re.sub(r"\d{9,}", lambda found: str(int(found[0]) + 50_000_000_000), value).replace(word, NOBODY)
    if other != value:
        return other
    return str(int(value) + 50_000_000) if value.isdigit() else value[::-1]


# Making a world


def settings(folder: Path, sandbox_url: str) -> Settings:
    """Of a gateway that may be asked as often as it takes."""
    return gateways.settings_for(
        folder, sandbox_url, public_url="https://gateway.example.com", caller_rate=0, failed_authentications=0
    )


async def found(gateway: Gateway, word: str, *, victim: bool) -> World:
    """An organization with two connected accounts at the vendors, and no thing yet."""
    runtime, now = gateway.runtime, gateway.runtime.clock.now()
    made = await tenants.create_organization(
        runtime.database, "Marsupials", email=f"{word}@example.com", now=now
    )
    headers = {"Authorization": f"User {made.user}, Organization {made.organization}"}
    return await settled(gateway, word, headers, made.organization, made.user, victim=victim)


async def settled(
    gateway: Gateway, word: str, headers: dict[str, str], organization: str, user: str, *, victim: bool
) -> World:
    """A caller with an instance of each element."""
    me = (await gateway.http.get("/users/me", headers=headers)).json()
    own = (await gateway.http.get("/organizations/me", headers=headers)).json()
    connected = {key: await connect(gateway, headers, key, word, victim=victim) for key in ELEMENTS}
    return World(
        word=word,
        headers=headers,
        organization=organization,
        user=user,
        tokens={key: item["token"] for key, item in connected.items()},
        account_id=me["accountId"],
        organization_id=own["id"],
        things={
            "word": [word],
            "instances": [str(item["id"]) for item in connected.values()],
            "accounts": [str(me["accountId"])],
            "organizations": [str(own["id"])],
            "userIds": [str(me["id"])],
        },
    )


async def connect(
    gateway: Gateway, headers: dict[str, str], key: str, word: str, *, victim: bool
) -> dict[str, Any]:
    """An instance whose name, tags, callback and free keys have the word in them."""
    place = ELEMENTS[key][0 if victim else 1]
    order = await gateway.order(key, **_CONFIGURED, **{f"{word}.note": word})
    order["configuration"]["event.notification.callback.url"] = f"http://{word}.example.com/hook"
    if key == "egnyte":
        order["configuration"]["subdomain"] = place
        order["providerData"]["code"] = consent(f"{gateway.sandbox_url}/egnyte/{place}")
    else:
        with (
            httpx.Client(base_url=gateway.sandbox_url) as steering,
            opened(steering, gateway.sandbox_url) as box,
        ):
            order["providerData"]["code"] = box.code(user=place)
    order |= {"name": f"{word} {key}", "tags": [f"{word}-tag"]}
    answer = await gateway.http.post("/instances", json=order, headers=headers)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


_CONFIGURED = {
    "event.notification.enabled": "true",
    "event.notification.signature.key": "key-of-the-world",
    "event.poller.refresh_interval": "15",
}


async def furnished(gateway: Gateway, world: World) -> World:
    """The world with one of everything, and with what it once had."""
    maker = _Maker(gateway, world)
    await maker.users()
    await maker.files()
    await maker.events()
    await maker.subscriptions()
    await maker.ended()
    return replace(world, things={**world.things, **maker.things})


class _Maker:
    """Makes things through the surface, and notes where in a request they fit."""

    def __init__(self, gateway: Gateway, world: World) -> None:
        self._gateway = gateway
        self._world = world
        self._word = world.word
        self.things: dict[str, list[str]] = {
            **{name: list(found) for name, found in world.things.items()},
            "tags[]": [f"{world.word}-tag"],
            "tags": [f"{world.word}-tag"],
            "searchText": [world.word],
            "text": [world.word],
            "nextPage": [],
            "subject": [f"instance {number}" for number in world.things["instances"]],
            "user": [world.things["userIds"][0], f"{world.word}@example.com"],
        }

    async def call(self, method: str, url: str, /, **request: Any) -> httpx.Response:
        request.setdefault("headers", self._world.headers)
        answer = await self._gateway.http.request(method, url, **request)
        assert answer.status_code == 200, f"{method} {url}: {answer.text}"
        return answer

    def note(self, **things: Any) -> None:
        for name, value in things.items():
            self.things.setdefault(name, []).append(str(value))

    async def users(self) -> None:
        for number, role in enumerate(("user", "admin")):
            email = f"{self._word}{number}@example.com"
            body = {"emailAddress": email, "lastName": self._word, "roles": [role], "password": PASSWORD}
            made = (await self.call("POST", "/users", json=body)).json()
            self.note(emailOrId=made["id"], userIds=made["id"])
            self.note(emailOrId=email, subject=f"user {made['id']}")
        account = (await self.call("GET", "/accounts/me")).json()
        self.note(emailOrId=f"{self._word}@example.com", accounts=account["id"])
        self.note(subject=f"account {account['id']}")
        await self.call("PATCH", f"/accounts/{account['id']}", json={"name": self._word})
        settings = {f"{self._word}.setting": self._word}
        await self.call("PATCH", "/accounts/settings", json=settings)
        proxied = {"apiKey": "x", "isOauthProxy": "true", "state": f"https://{self._word}.example.com/oauth"}
        await self.call("GET", "/elements/egnyte/oauth/url", params=proxied)

    async def files(self) -> None:
        for key, home in (("egnyte", "/Shared"), ("box", "")):
            headers, path = self._world.hub(key), f"{home}/{self._word}/{self._word}.txt"
            upload = {"params": {"path": path}, "files": {"file": ("x", self._word.encode())}}
            file = (await self.call("POST", "/files", headers=headers, **upload)).json()
            self.note(files=file["id"], folders=file["parentFolderId"], folderId=file["parentFolderId"])
            self.note(path=path, objectId=file["id"])
            at = f"/files/{file['id']}"
            comment = await self.call("POST", f"{at}/comments", headers=headers, json={"comment": self._word})
            self.note(commentId=comment.json()["id"])
            await self.call("PUT", f"{at}/lock", headers=headers, json={})
            await self.call("DELETE", f"{at}/lock", headers=headers)
            link = (await self.call("GET", f"{at}/links", headers=headers)).json()
            await self.call("DELETE", f"{at}/links", headers=headers)
            self.note(token=link["cloudElementsLink"].rpartition("/")[2])
            await self.call("GET", f"{at}/links", headers=headers)
            await self.call(
                "POST",
                "/files",
                headers=headers,
                params={"path": path, "overwrite": "true"},
                files={"file": b"2"},
            )
            for version in (await self.call("GET", f"{at}/revisions", headers=headers)).json():
                self.note(revisionId=version["id"])
            page = await self.call(
                "GET", "/folders/contents", headers=headers, params={"path": home or "/", "pageSize": 1}
            )
            self.note(nextPage=page.headers.get("Elements-Next-Page-Token", "0"))
            events = await self.call("GET", "/hubs/documents/events", headers=headers)
            self.note(cursor=events.headers["Elements-Events-Cursor"])
            later = headers | {"Elements-Async-Request": "true"}
            folder = f"{home}/{self._word}"
            await self.call(
                "POST", "/folders/copy", headers=later, params={"path": folder}, json={"path": f"{folder}2"}
            )
        self.note(rest=f"pubapi/v1/fs/Shared/{self._word}", tags="x")
        self.note(rest=f"2.0/files/{self.things['files'][1]}")

    async def events(self) -> None:
        runtime, now = self._gateway.runtime, self._gateway.runtime.clock.now()
        for instance_id in self.things["instances"]:
            changes = [
                Change(
                    event_id=f"{self._word}-{number}",
                    event_type="CREATED",
                    object_type="file",
                    object_id=f"{self._word}-{number}",
                    change="create",
                    date=now,
                    raw={"vendor": self._word},
                    path=f"/{self._word}",
                )
                for number in range(2)
            ]
            async with runtime.database.write() as connection:
                item = await instances.for_worker(connection, int(instance_id))
                assert item
                origin = Origin(Via.POLLING, "events", 1, cursor=self._word, next_cursor=self._word)
                await intake.take_in(connection, *item, changes, origin, now=now)
        for row in (await self.call("GET", "/instances/events")).json():
            self.note(events=row["id"], eventId=row["id"], nextPage=row["id"], objectId=row["id"])
            (part,) = row["eventElementInstances"]
            self.note(notifications=part["notificationId"])
        self.note(objectId=f"{self._word}-1", instance=self.things["instances"][0])
        self.note(where=f"notificationId = {self.things['notifications'][0]}")
        self.note(**{"accountIds[]": self._world.account_id})

    async def subscriptions(self) -> None:
        for instance_id, key in zip(self.things["instances"], ELEMENTS, strict=True):
            topic = f"instance-{instance_id}-{key}-events"
            self.note(**{"topics[]": topic, "topics": topic})
            body = {
                "channel": "webhook",
                "topics": [topic],
                "config": {"url": f"http://{self._word}.example.com/b"},
            }
            made = (await self.call("POST", "/notifications/subscriptions", json=body)).json()
            self.note(subscriptions=made["id"], subscriptionId=made["id"])
            self.note(where=f"subscriptionId = {made['id']}")
            self.note(nextPage=f"{made['id']}.{self.things['notifications'][0]}")
        self.note(where=f"config.url = 'http://{self._word}.example.com/hook' and status = 'created'")
        worker = WebhookWorker(self._gateway.runtime)
        for row in await worker.claim(10):
            await worker.run(row)

    async def ended(self) -> None:
        """A user, a subscription, a file and an instance that are gone."""
        email = f"{self._word}-gone@example.com"
        user = (await self.call("POST", "/users", json={"emailAddress": email})).json()
        await self.call("DELETE", f"/users/{user['id']}")
        self.note(emailOrId=user["id"])
        self.note(emailOrId=email)
        instance = await connect(self._gateway, self._world.headers, "egnyte", self._word, victim=True)
        await self.call("DELETE", f"/instances/{instance['id']}")
        self.note(instances=instance["id"], subject=f"instance {instance['id']}")
        headers, path = self._world.hub("egnyte"), f"/Shared/{self._word}/gone.txt"
        upload = {"params": {"path": path}, "files": {"file": ("x", b"x")}}
        file = (await self.call("POST", "/files", headers=headers, **upload)).json()
        await self.call("DELETE", f"/files/{file['id']}", headers=headers)
        self.note(files=file["id"], path=path)


# What is stored

_COUNTED_UP = ("organization", "account", "gateway_user", "instance", "secret", "subscription")


class Store:
    """The rows of an SQLite database: looked at, and put back."""

    def __init__(self, path: str) -> None:
        self._live = sqlite3.connect(path, timeout=30)
        self._golden = sqlite3.connect(":memory:")
        self._seen = 0

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.close()
        self._golden.close()

    def begin_ids_far_away(self) -> None:
        """The next rows of these tables get ids that are found in no text by chance, each its own."""
        with closing(self._live.cursor()) as cursor:
            for number, table in enumerate(_COUNTED_UP):
                row = cursor.execute(f"SELECT * FROM {table} LIMIT 1")  # noqa: S608
                names = [column[0] for column in row.description]
                values = dict(zip(names, row.fetchone(), strict=True)) | {"id": FAR + number * 100_000}
                values |= {
                    name: f"dummy-{table}" for name in ("hash", "token_hash", "email") if name in names
                }
                marks = ",".join("?" for _ in values)
                cursor.execute(f"INSERT INTO {table} VALUES ({marks})", list(values.values()))  # noqa: S608
        self._live.commit()

    def forget_first_ids(self) -> None:
        """Takes away what has moved the ids."""
        for number, table in reversed(list(enumerate(_COUNTED_UP))):
            self._live.execute(f"DELETE FROM {table} WHERE id = ?", (FAR + number * 100_000,))  # noqa: S608
        self._live.commit()

    def keep(self) -> None:
        """What `restore` goes back to."""
        self._live.backup(self._golden)
        self._seen = self._version()

    def restore(self) -> None:
        self._golden.backup(self._live)
        self._seen = self._version()

    @property
    def has_changed(self) -> bool:
        """Whether anybody else has written since."""
        return self._version() != self._seen

    def _version(self) -> int:
        return int(self._live.execute("PRAGMA data_version").fetchone()[0])

    def rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every row of every table by its key, which is its first column or all of its id columns."""
        cursor = self._live.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in cursor if not name.startswith(("sqlite_", "alembic"))]
        return {name: self._rows_of(name) for name in names}

    def _rows_of(self, table: str) -> dict[str, dict[str, Any]]:
        found = self._live.execute(f"SELECT * FROM {table}")  # noqa: S608
        keys = [row[1] for row in self._live.execute(f"PRAGMA table_info({table})") if row[5]]
        columns = [column[0] for column in found.description]
        rows = (dict(zip(columns, row, strict=True)) for row in found)
        return {json.dumps([row[key] for key in keys]): row for row in rows}
