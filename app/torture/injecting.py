"""Faults as they happen: each is carried out at its time, and counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from app.torture.accounts import Place
from app.torture.faults import SLOW_TOKENS, Fault, Kind
from app.torture.fleet import Fleet
from app.torture.postgresql import Server
from app.torture.processes import Process
from app.torture.receivers import Receivers
from app.torture.report import BACKWARDS, FORWARDS
from app.torture.vendors import Vendors

_DATABASE_IS_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_STARTING = 15.0  # seconds in which a process that was started again comes up; after them it is fair game
_LOOK_AGAIN = 0.1  # seconds
_ON_THEIR_WAY = 0.7  # seconds, in which polls and long polls have found out that their tokens have ended


@dataclass
class Injector:
    """Breaks what the schedule says, and leaves a line of it in `journal`."""

    fleet: Fleet
    server: Server | None
    vendors: Vendors
    receivers: Receivers
    places: Mapping[str, Place]
    journal: Path
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._restarting = asyncio.Lock()
        self._killing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._began = time.monotonic()

    async def run(self, schedule: Sequence[Fault]) -> None:
        """Returns when the last fault is over."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in schedule:
                await asyncio.sleep(max(0.0, self._began + fault.at - time.monotonic()))
                group.create_task(self._carry_out(fault))

    async def _carry_out(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL:
                done = await self._kill(fault)
            case Kind.STOP:
                done = await self._stop(fault)
            case Kind.RESTART:
                done = await self._restart(fault)
            case Kind.CUT:
                done = await self._cut(fault)
            case Kind.STEP:
                done = self._step(fault)
            case Kind.EXPIRE:
                done = await self._expire(fault)
            case Kind.VENDOR:
                done = await self._vendor(fault)
            case Kind.RECEIVER:
                done = await self._receiver(fault)
        self.counts[fault.kind] += done
        self._write(f"{'done' if done else 'not done'}  {fault}")

    async def _kill(self, fault: Fault) -> int:
        async with self._killing[fault.target]:
            process = await self._target(fault)
            if not process.kill():
                return 0
            self._write(f"killed {fault.target}")
            await asyncio.sleep(fault.seconds)
            if not process.life.runs:  # nobody else has started it again
                process.start()
            return 1

    async def _stop(self, fault: Fault) -> int:
        process = await self._target(fault)
        life = process.life
        if not process.pause():
            return 0
        self._write(f"stopped {fault.target}")
        await asyncio.sleep(fault.seconds)
        process.resume(life)
        return 1

    def _step(self, fault: Fault) -> int:
        """A clock that is right already and is set right was not stepped."""
        process = self.fleet.gateways[fault.target]
        before, after = process.offset, fault.seconds
        process.step(after)
        self.counts[FORWARDS] += after > before
        self.counts[BACKWARDS] += after < before
        return int(after != before)

    async def _restart(self, fault: Fault) -> int:
        if self.server is None or self._restarting.locked():
            return 0
        async with self._restarting:
            await self.server.restart(fault.seconds)
        return 1

    async def _cut(self, fault: Fault) -> int:
        if self.server is None:
            return 0
        with suppress(*_DATABASE_IS_AWAY):
            return await self.server.cut(fault.share)
        return 0

    async def _expire(self, fault: Fault) -> int:
        await self.vendors.fault(self.places[fault.target], "tokens/expire", {"kind": "access"})
        return 1

    async def _target(self, fault: Fault) -> Process:
        """The process that the fault is for, as soon as it is up: on a slow machine it would never be, if it
        was killed at fixed times. Tokens of the place that the fault names are on their way then."""
        process = self.fleet.gateways[fault.target]
        for _ in range(int(_STARTING / _LOOK_AGAIN)):
            if process.is_up:
                break
            await asyncio.sleep(_LOOK_AGAIN)
        if name := fault.order.get("refreshing"):
            await self.vendors.fault(self.places[name], "faults", SLOW_TOKENS)
            await self.vendors.fault(self.places[name], "tokens/expire", {"kind": "access"})
            await asyncio.sleep(_ON_THEIR_WAY)
        return process

    async def _vendor(self, fault: Fault) -> int:
        order = {name: value for name, value in fault.order.items() if name != "webhook"}
        if "webhook" in fault.order:
            order["kind"], path = fault.order["webhook"], "webhooks/faults"
        else:
            path = "faults"
        await self.vendors.fault(self.places[fault.target], path, order)
        return 1

    async def _receiver(self, fault: Fault) -> int:
        await self.receivers.behave(fault.target, **fault.order)
        await asyncio.sleep(fault.seconds)
        await self.receivers.behave(fault.target)
        return 1

    def _write(self, line: str) -> None:
        with self.journal.open("a") as file:
            file.write(f"{time.monotonic() - self._began:8.2f}  {line}\n")
