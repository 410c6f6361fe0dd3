"""The course of a torture: everything starts, faults and changes happen, faults end, and what has arrived is
reconciled with what has happened."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from app.errors import GatewayError
from app.torture import accounts, changes, faults, fleet, grants, ledger, postgresql
from app.torture.accounts import CROWD, Account
from app.torture.clients import Owner
from app.torture.faults import Fault, Stage
from app.torture.fleet import Fleet
from app.torture.injecting import Injector
from app.torture.ledger import Expected, Happened
from app.torture.receivers import Receivers
from app.torture.report import Report
from app.torture.vendors import Vendors

_PATIENCE = 240.0  # seconds until everything must have arrived after the last fault
_ROUND = 2.0  # seconds between two looks at what is still missing
_TIME_PASSES = 60.0  # seconds by which all clocks go ahead with each look: retries wait for minutes
_QUIET = 3  # looks in a row that bring nothing more
_WATCHING = 0.3  # seconds between two looks for processes that have died
_READING = 1.0  # seconds between two looks at the receiver
_OF_A_WITNESS = 90.0  # seconds for an answer of the sandbox or the receiver, which nobody tortures
_KEPT_ALIVE = 1.0  # seconds; a server that closes a connection after 5 must not be asked over it just then


@dataclass(frozen=True)
class Order:
    """What is asked of a run. With `keep` its folder with the logs stays."""

    database: Literal["postgresql", "sqlite"]
    seconds: float
    seed: int
    accounts: int
    keep: bool = False

    def schedule(self) -> list[Fault]:
        """What will go wrong, and when."""
        chosen, many = accounts.make(self.accounts), self.database == "postgresql"
        stage = Stage(
            processes=fleet.names(many=many),
            places=accounts.places(chosen),
            paths=_paths(chosen),
            lease=fleet.LEASE,
            long_lease=fleet.REFRESH_LEASE,
            longest_step=self.seconds / 3,
            has_server=many,
        )
        return faults.schedule(self.seed, stage, self.seconds)


def _paths(chosen: Sequence[Account]) -> list[str]:
    """Where callbacks arrive."""
    return [*(account.callback for account in chosen), CROWD]


def run(order: Order) -> Report:
    """One run, printed on standard error as it goes. Ctrl-C and SIGTERM end it with all its processes.

    Raises GatewayError where it cannot begin or go on; its folder stays then.
    """
    try:
        return asyncio.run(_interruptible(order))
    except ExceptionGroup as group:
        first = next(_leaves(group))
        raise GatewayError(f"the run broke off: {type(first).__name__}: {first}") from first
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What lies in groups of groups."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


async def _interruptible(order: Order) -> Report:
    """The folder is removed, unless it is to stay or something failed."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="gateway-torture-"))
    keeps = True
    try:
        report = await _in_folder(order, folder)
        keeps = order.keep or not report.passed
        return report
    finally:
        if keeps:
            print(f"logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


async def _in_folder(order: Order, folder: Path) -> Report:
    many = order.database == "postgresql"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(postgresql.running()) if many else None
        url = server.url() if server else f"sqlite:///{folder}/gateway.db"
        processes = await stack.enter_async_context(fleet.running(folder, url, many=many))
        return await _Run(order, folder, processes, server, stack).course()


class _Run:
    """What the steps of one run share."""

    def __init__(
        self,
        order: Order,
        folder: Path,
        processes: Fleet,
        server: postgresql.Server | None,
        stack: AsyncExitStack,
    ) -> None:
        self._order = order
        self._fleet = processes
        self._stack = stack
        self._server = server
        self._folder = folder
        self._accounts = accounts.make(order.accounts)
        self._places = accounts.places(self._accounts)
        self._began = time.monotonic()

    async def course(self) -> Report:
        """Begins, lets faults happen, waits until everything has arrived, and counts."""
        self._say(f"seed {self._order.seed}: starting on {self._order.database}, logs in {self._folder}")
        await self._fleet.start()
        self._vendors = Vendors(await self._client(self._fleet.sandbox.url, timeout=_OF_A_WITNESS))
        self._receivers = Receivers(await self._client(self._fleet.receiver.url, timeout=_OF_A_WITNESS))
        self._owner = Owner(await self._client(), self._fleet, self._vendors)
        await self._vendors.prepare(self._places, self._accounts)
        for account in self._accounts:
            await self._owner.connect(account)
        await self._vendors.begin(self._places)
        self._say(f"{len(self._accounts)} accounts are connected; faults begin")
        injector = self._injector()
        await self._under_fire(injector)
        self._say("faults have ended; what is missing is waited for")
        async with _beside(self._watch()):
            expected, hung = await self._calm_down()
        return self._report(expected, injector, hung)

    async def _client(self, base_url: str = "", *, timeout: float = 15) -> httpx.AsyncClient:
        limits = httpx.Limits(keepalive_expiry=_KEPT_ALIVE)
        made = httpx.AsyncClient(base_url=base_url, timeout=timeout, limits=limits, trust_env=False)
        return await self._stack.enter_async_context(made)

    def _injector(self) -> Injector:
        places = {place.name or place.element: place for place in self._places}
        journal = self._folder / "faults.log"
        return Injector(self._fleet, self._server, self._vendors, self._receivers, places, journal)

    async def _under_fire(self, injector: Injector) -> None:
        order = self._order
        schedule, plan = order.schedule(), changes.plan(order.seed, self._places, order.seconds)
        beside = (
            self._watch(),
            self._read(),
            self._owner.look_after(),
            self._owner.write(order.seed, self._accounts),
        )
        async with _beside(*beside), asyncio.TaskGroup() as group:
            group.create_task(injector.run(schedule))
            group.create_task(self._change(plan))
            group.create_task(self._rotate_keys())

    async def _rotate_keys(self) -> None:
        await asyncio.sleep(self._order.seconds / 2)
        await self._fleet.rotate_keys()

    async def _change(self, plan: Sequence[changes.Order]) -> None:
        began = time.monotonic()
        for order in plan:
            await asyncio.sleep(max(0.0, began + order.at - time.monotonic()))
            await self._vendors.change(order.place, order.body)

    async def _watch(self) -> None:
        while True:
            self._fleet.revive()
            await asyncio.sleep(_WATCHING)

    async def _read(self) -> None:
        while True:
            await self._receivers.read()
            await asyncio.sleep(_READING)

    async def _calm_down(self) -> tuple[list[Expected], list[str]]:
        """Everything is well again, owners do what is theirs, and time passes, until nothing is missing,
        nothing more comes and each process has worked; or patience ends. Answers what must have arrived, and
        the processes that hang."""
        await self._vendors.heal(self._places)
        await self._receivers.heal(_paths(self._accounts))
        self._fleet.mark()
        ahead = max(0.0, *(one.offset for one in self._fleet.gateways.values()))
        deadline, quiet = time.monotonic() + _PATIENCE, 0
        while True:
            ahead += _TIME_PASSES
            for one in self._fleet.gateways.values():
                one.step(ahead)
            await self._owner.renew()
            await self._owner.redeliver(self._receivers.gone())
            await asyncio.sleep(_ROUND)
            came = await self._receivers.read()
            expected = await self._expected()
            arrived = ledger.by_instance(self._receivers.arrivals)
            missing = sum(ledger.missing(account, arrived[account.instance_id]) for account in expected)
            hung = await self._fleet.hung(self._owner.http)
            quiet = 0 if came or missing or hung else quiet + 1
            if quiet >= _QUIET or time.monotonic() > deadline:
                return expected, hung
            idle = "".join(f", {one} does not work yet" for one in hung)
            self._say(f"{missing} are missing, {came} have come{idle}")

    async def _expected(self) -> list[Expected]:
        self._happened = {place: await self._vendors.happened(place) for place in self._places}
        return [self._of(account, self._happened[account.place]) for account in self._accounts]

    def _of(self, account: Account, happened: Sequence[Happened]) -> Expected:
        return Expected(
            instance_id=self._owner.instances[account]["id"],
            paths=(account.callback, CROWD),
            ordered=frozenset({account.callback} if account.ordered else ()),
            changes=happened,
        )

    def _report(self, expected: Sequence[Expected], injector: Injector, hung: Sequence[str]) -> Report:
        clients = {item["id"]: account.client_id for account, item in self._owner.instances.items()}
        lives = [life for one in self._fleet.gateways.values() for life in one.lives]
        refreshes = grants.read(((life.said(), life.killed) for life in lives), clients)
        ended = self._owner.grants_ended
        return Report(
            seed=self._order.seed,
            database=self._order.database,
            seconds=self._order.seconds,
            took=time.monotonic() - self._began,
            accounts=len(self._accounts),
            happened=sum(map(len, self._happened.values())),
            tally=ledger.reconcile(expected, self._receivers.arrivals),
            faults=injector.counts,
            died=self._fleet.died,
            refreshes=sum(map(len, refreshes.stored.values())),
            renewed=len(ended),
            unexplained=refreshes.unexplained(ended),
            redelivered=self._owner.redelivered,
            hung=hung,
        )

    def _say(self, line: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", file=sys.stderr, flush=True)


@asynccontextmanager
async def _beside(*steps: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs steps that never end beside the body; one that fails ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
