"""What the harness does around a run: its processes, their watchdog, and who may ask for what is queued."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.torture import fleet
from app.torture.clients import Owner
from app.torture.faults import Fault, Kind
from app.torture.fleet import Fleet
from app.torture.injecting import Injector
from app.torture.processes import Life, Process, free_port
from app.torture.report import BACKWARDS, FORWARDS
from app.torture.run import Order
from app.torture.stepped import POLLED

Answering = Callable[[httpx.Request], httpx.Response]


def _process(folder: Path, *words: str, name: str = "worker-1", port: int | None = None) -> Process:
    """One that has said something."""
    made = Process(name, words, {"GATEWAY_PORT": "1"}, folder, port)
    log = folder / f"{name}.log"
    log.write_text(f"info    {POLLED}\n")
    made.lives.append(Life(None, log))  # type: ignore[arg-type]
    return made


def _fleet(*gateways: Process) -> Fleet:
    witness: Any = SimpleNamespace(url="http://receiver")
    return Fleet(witness, witness, {one.name: one for one in gateways})


def _client(answer: Answering) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def test_settings_around_the_harness_are_none_of_its_gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_TIMEOUT", "1")
    monkeypatch.setenv("gateway_log_level", "debug")
    monkeypatch.setenv("OTHERS", "stay")
    found = _process(tmp_path).surroundings
    assert [name for name in found if name.upper().startswith("GATEWAY_")] == ["GATEWAY_PORT"]
    assert found["OTHERS"] == "stay"


async def test_a_worker_that_does_nothing_any_more_hangs(tmp_path: Path) -> None:
    one = _process(tmp_path, "work")
    started = _fleet(one)
    async with _client(lambda _: httpx.Response(200)) as http:
        assert await started.hung(http) == []
        started.mark()
        assert await started.hung(http) == ["worker-1"]
        with one.life.log.open("a") as file:
            file.write(f"info    {POLLED}\n")
        assert await started.hung(http) == []


@pytest.mark.parametrize(("status", "hung"), [(200, []), (503, ["api-1"])])
async def test_an_api_that_is_not_ready_hangs(tmp_path: Path, status: int, hung: list[str]) -> None:
    started = _fleet(_process(tmp_path, "serve", "--no-workers", name="api-1", port=1))
    started.mark()
    async with _client(lambda _: httpx.Response(status)) as http:
        assert await started.hung(http) == hung


async def test_only_subscriptions_that_were_ended_with_410_are_redelivered(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"redelivered": 3})

    started = _fleet(_process(tmp_path, "serve", port=1))
    started.secrets |= {"User": "u", "Organization": "o"}
    async with _client(answer) as http:
        owner = Owner(http, started, SimpleNamespace())  # type: ignore[arg-type]
        await owner.redeliver([])
        assert not asked
        await owner.redeliver([(7, "/crowd")])
    [where] = [request.url.params["where"] for request in asked]
    assert where == "status='queued' and instanceId=7 and config.url='http://receiver/crowd'"
    assert owner.redelivered == 3


def _stepped(folder: Path, names: Sequence[str], faults: Sequence[Fault]) -> list[int]:
    nobody: Any = None
    stage = _fleet(*(_process(folder, name=name) for name in names))
    injector = Injector(stage, None, nobody, nobody, {}, folder / "faults.log")
    asyncio.run(injector.run([replace(fault, at=0) for fault in faults if fault.kind == Kind.STEP]))
    return [injector.counts[name] for name in (FORWARDS, BACKWARDS)]


@pytest.mark.parametrize(
    ("offsets", "counted"), [([0.0, -0.0], [0, 0]), ([2.5, 2.5, 0.0, -7.0, -2.5], [2, 2])]
)
def test_a_clock_that_is_set_to_where_it_is_was_not_stepped(
    tmp_path: Path, offsets: list[float], counted: list[int]
) -> None:
    faults = [Fault(0, Kind.STEP, "worker-1", seconds) for seconds in offsets]
    assert _stepped(tmp_path, ["worker-1"], faults) == counted


@pytest.mark.parametrize(("database", "seed"), [("postgresql", 33), ("sqlite", 21)])
def test_the_short_form_steps_clocks_both_ways(tmp_path: Path, database: Any, seed: int) -> None:
    names = fleet.names(many=database == "postgresql")
    assert min(_stepped(tmp_path, names, Order(database, 22, seed, 8).schedule())) > 0


_KILLED = """
import os, sys
from pathlib import Path
from app.torture import watchdog

with watchdog.watched(Path(sys.argv[1]), Path(sys.argv[2])):
    os.kill(os.getpid(), 9)
"""


def test_the_database_ends_and_goes_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    folder, stopped, program = tmp_path / "pg", tmp_path / "stopped", tmp_path / "pg_ctl"
    (folder / "data").mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$@" > {stopped}\n')
    program.chmod(0o755)
    words = [sys.executable, "-c", _KILLED, str(program), str(folder)]
    done = subprocess.run(words, check=False, capture_output=True)  # the watchdog holds the pipe to its end
    assert done.returncode == -9, done.stderr
    assert stopped.read_text() == f"-D {folder}/data -w -m immediate stop\n"
    assert not folder.exists()


def test_a_port_is_none_of_those_that_connections_get() -> None:
    assert all(1024 < free_port() < 32_768 for _ in range(50))
