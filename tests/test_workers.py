"""The loop of a worker: it wakes, fills its places, survives errors, and drains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from processes import PATIENCE, until

from app import workers
from app.errors import DatabaseUnavailable
from app.workers import Loop


class Bench:
    """A loop over numbers that are put into `due`."""

    def __init__(
        self, run: Callable[[int], Awaitable[bool]], *, places: int = 2, idle: float = 10 * PATIENCE
    ) -> None:
        self.due: list[int] = []
        self.asked: list[int] = []
        self.wakeup, self.draining = asyncio.Event(), asyncio.Event()
        self.loop = Loop(
            name="test",
            claim=self.claim,
            run=run,
            places=places,
            idle=timedelta(seconds=idle),
            wakeup=self.wakeup,
            draining=self.draining,
        )

    async def claim(self, places: int) -> list[int]:
        self.asked.append(places)
        taken, self.due = self.due[:places], self.due[places:]
        return taken


async def test_work_is_done_as_places_become_free() -> None:
    done: list[int] = []
    at_once, most = 0, 0

    async def run(row: int) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        done.append(row)
        return False

    bench = Bench(run, places=3)
    bench.due = list(range(20))
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: len(done) == 20, "all rows")
    bench.draining.set()
    await task
    assert sorted(done) == list(range(20))
    assert most == 3
    assert max(bench.asked) == 3


async def test_an_idle_loop_wakes_when_it_is_told() -> None:
    done: list[int] = []

    async def run(row: int) -> bool:
        done.append(row)
        return False

    bench = Bench(run)
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: bool(bench.asked), "a claim")
    bench.due = [1]
    bench.wakeup.set()
    await until(lambda: done == [1], "the row")
    bench.draining.set()
    await task


async def test_an_idle_loop_looks_for_work_by_itself() -> None:
    async def run(_: int) -> bool:
        return False

    bench = Bench(run, idle=0.001)
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: len(bench.asked) > 3, "more claims")
    bench.draining.set()
    await task


async def test_a_row_that_is_due_again_is_claimed_at_once() -> None:
    runs: list[int] = []
    bench: Bench

    async def run(row: int) -> bool:
        runs.append(row)
        if len(runs) < 5:
            bench.due = [row]
            return True
        return False

    bench = Bench(run)
    bench.due = [1]
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: len(runs) == 5, "five runs")
    bench.draining.set()
    await task


async def test_errors_do_not_stop_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_AFTER_ERROR", 0)
    done: list[int] = []

    async def run(row: int) -> bool:
        if row == 1:
            raise RuntimeError
        done.append(row)
        return False

    bench = Bench(run, idle=0.001)
    claim, failures = bench.claim, [OSError(), RuntimeError()]

    async def failing(places: int) -> list[int]:
        if failures:
            raise failures.pop()
        return await claim(places)

    bench.loop.claim = failing
    bench.due = [1, 2]
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: done == [2], "the other row")
    bench.draining.set()
    await task


async def test_draining_waits_for_what_runs_and_claims_nothing_more() -> None:
    going, release = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def run(row: int) -> bool:
        going.set()
        await release.wait()
        done.append(row)
        return True

    bench = Bench(run, places=1)
    bench.due = [1, 2]
    task = asyncio.create_task(bench.loop.forever())
    await going.wait()
    bench.draining.set()
    await asyncio.sleep(0.01)
    assert not task.done()
    release.set()
    await task
    assert (done, bench.due) == ([1], [2])


@pytest.mark.parametrize("fails", [False, True])
async def test_a_loop_that_is_cancelled_ends_what_runs_wherever_it_is_itself(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """In a claim, or in the rest after one that has failed."""
    monkeypatch.setattr(workers, "_AFTER_ERROR", 10 * PATIENCE)
    ended: list[int] = []
    again = asyncio.Event()

    async def run(row: int) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(row)
        return False

    async def claim(places: int) -> list[int]:
        if bench.due:
            return await bench.claim(places)
        again.set()
        if not fails:
            await asyncio.Event().wait()
        raise OSError

    bench = Bench(run, idle=0.001)
    bench.loop.claim = claim
    bench.due = [1]
    task = asyncio.create_task(bench.loop.forever())
    await again.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), ended) == (True, [1])


async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_AFTER_ERROR", 0.001)
    done: list[int] = []
    outages = 3

    async def run(row: int) -> bool:
        done.append(row)
        return False

    async def claim(places: int) -> list[int]:
        nonlocal outages
        outages -= 1
        if outages >= 0:
            raise DatabaseUnavailable(ConnectionRefusedError("away"))
        return await bench.claim(places)

    bench = Bench(run, idle=0.001)
    bench.loop.claim = claim
    bench.due = [1]
    task = asyncio.create_task(bench.loop.forever())
    await until(lambda: done == [1], "the row")
    bench.draining.set()
    await task
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["no work while the database is away", "the database is back"]
