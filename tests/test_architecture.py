"""The rules of the house that a reader would not see broken: directions of imports, one address for SQL."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app import registry

ROOT = Path(app.__file__).parent

# A module may import from lower rows only. What is not named here belongs to the row of its folder.
ROWS: tuple[tuple[str, ...], ...] = (
    ("addresses",),
    ("errors", "clock", "ids", "backoff", "logs", "http_client", "settings.types", "tasks", "hints",
     "base64url", "covering", "acting", "recent"),
    ("store.outages", "settings.database_url", "settings.secret_files", "upstream.failures"),
    ("settings", "vault.sealing", "ceql", "delivery.signing", "upstream.content", "upstream.progress",
     "upstream.reading", "upstream.hosts", "upstream.answers", "wire.dates", "wire.lenient", "wire.names",
     "wire.storable", "wire.authorization", "store.tables", "store.engine", "api.requests",
     "api.compression", "openapi.swagger_schemas", "tenancy.passwords"),
    ("settings.page", "tenancy.sessions", "rates", "api.slow_bodies", "upstream.client", "delivery.egress",
     "store.leases", "api.problems", "hubs.entries", "openapi.swagger", "store.batches", "store.ordering",
     "store.audit", "delivery.carried", "wire.audit"),
    ("store.settlements", "store.new_rows", "store.encryption_keys", "audit"),
    ("openapi.objects", "api.bodies", "api.paging", "api.reference_page", "api.secrets", "upstream.oauth",
     "store.tenants", "store.accounts", "store.users", "store.instances", "store.pollers",
     "store.async_requests", "store.events", "store.outbox", "store.known_objects", "store.retention",
     "store.vendor_webhooks", "store.links", "store.oauth_states", "store.migrations", "store.wakeups",
     "hubs.paths"),
    ("hubs.documents", "tenancy.tenants", "tenancy.roles", "vault.key_rotation", "vault.unsaved",
     "store.event_log", "store.notifications", "store.url_logins", "polling.inside", "polling.dates"),
    ("polling.templates", "vault.codes"),
    ("polling.resources",),
    ("registry", "providers", "wire.events", "wire.notifications", "wire.documents", "wire.secrets",
     "wire.organizations", "wire.async_requests"),
    ("configuration", "ingest.events", "listing", "polling.reading"),
    ("ingest.twins", "ingest.recollection"),
    ("event_settings", "ingest.memory", "wire.elements"),
    ("ingest.intake",),
    ("vault.credentials",),
    ("runtime", "vault.lost_key"),
    ("delivery.url_logins",),
    ("delivery.callbacks", "documents", "delivery.subscribing", "provisioning.watching",
     "tenancy.authentication", "tenancy.organizations", "tenancy.accounts", "tenancy.users", "api.deps",
     "delivery.settling", "wire.hubs", "wire.instances"),
    ("ingest.vendor_webhooks", "delivery.dispatcher"),
    ("async_requests", "provisioning.instances", "ingest.vendor_events", "event_log",
     "delivery.notifications", "polling.poller", "retention", "provisioning.consent", "links", "native",
     "api.answers", "api.targets"),
    ("provisioning.updates", "provisioning.importer", "api.chosen", "api.later", "wire.accounts",
     "wire.users", "wire.event_log", "wire.traces", "wire.subscriptions", "api.swaggers"),
    ("polling.listener",),
    ("workers", "api.inside", "api.elements", "api.hubs", "api.oauth", "api.instances", "api.events",
     "api.links", "api.native", "api.vendor_events", "api.lists", "api.multipart", "api.ops",
     "api.authentication", "api.users", "api.contract", "api.docs", "api.event_log", "api.notifications"),
    ("api.trace", "api.instance_docs", "api.audit"),
    ("api.files", "api.custom_fields", "api.accounts"),
    ("api.folders", "api.organizations"),
    ("api.documents",),
    ("main", "demo", "server", "torture"),
    ("cli.start",),
    ("cli",),
)  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, empty __init__ files left out."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and path.read_text():
            found[".".join(parts)] = path
    found.pop("__main__", None)
    return found


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, functions' own imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "app":
                base = module.partition(".")[2]
                for name in names:
                    inner = f"{base}.{name.name}".strip(".")
                    yield inner if inner in MODULES else base
            case ast.Import(names=names):
                for name in names:
                    if name.name.startswith("app."):
                        yield name.name.partition(".")[2]


MODULES = modules()


def place(name: str) -> tuple[int, str]:
    """The number of a module's row, and the entry there that it belongs to: itself or a folder above it."""
    parts = name.split(".")
    for entry in (".".join(parts[:length]) for length in range(len(parts), 0, -1)):
        for number, names in enumerate(ROWS):
            if entry in names:
                return number, entry
    raise AssertionError(f"{name} has no row in ROWS: decide where it belongs")


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("sandbox")])
def test_a_module_imports_only_from_lower_rows(name: str) -> None:
    for other in set(imported(MODULES[name])) - {"", name}:
        if other.startswith("sandbox"):
            assert name in {"cli.trying", "demo"}, f"{name} imports the sandbox"
        elif place(other) != place(name):
            assert place(other)[0] < place(name)[0], f"{name} {place(name)} imports {other} {place(other)}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("sandbox")])
def test_the_sandbox_is_an_independent_witness(name: str) -> None:
    assert all(other.startswith("sandbox") for other in imported(MODULES[name]) if other)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(("store", "sandbox"))])
def test_sql_is_written_only_in_the_store(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy":
            names = {item.name for item in node.names}
            assert not names & {"select", "insert", "update", "delete", "text"}, f"{name} writes SQL"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("providers")])
def test_a_provider_never_sees_the_database_or_another_provider(name: str) -> None:
    own = ".".join(name.split(".")[:2])
    allowed = ("hubs.", "upstream.", "errors", own)
    assert all(other.startswith(allowed) for other in imported(MODULES[name]) if other)


@pytest.mark.parametrize("key", [provider.key for provider in registry.discover({}).providers])
def test_a_provider_has_its_sandbox_twin_and_its_tests(key: str) -> None:
    assert key in {name.split(".")[1] for name in MODULES if name.startswith("sandbox.")}
    assert (Path(__file__).parent / "providers" / f"test_{key}.py").is_file()


def test_authlib_is_imported_in_one_place() -> None:
    users = [name for name, path in MODULES.items() if "authlib" in path.read_text()]
    assert users == ["upstream.oauth"]


def test_httpx2_is_not_installed() -> None:
    """Starlette and authlib would silently prefer it to the client that this project has chosen."""
    with pytest.raises(ModuleNotFoundError):
        __import__("httpx2")


@pytest.mark.parametrize(("name", "path"), MODULES.items())
def test_a_file_can_be_read_in_one_sitting(name: str, path: Path) -> None:
    """The verbs of a provider are one file, whatever its vendor can do; it reads as a list of short ones."""
    longest = 750 if name.startswith("providers.") and name.count(".") == 1 else 400
    assert len(path.read_text().splitlines()) <= longest, name


def test_functions_are_short() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30
