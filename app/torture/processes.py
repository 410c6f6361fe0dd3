"""One process of the gateway: started, killed, stopped for a while, started again under the same name."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.torture.stepped import OFFSET_FILE, POLLED

_SETTINGS = "GATEWAY_"
_PORTS = (20_000, 32_000)


@dataclass
class Life:
    """From one start to one end; `killed` says that the harness has ended it. `mark` is how long its log was
    when it was last looked at whether it works."""

    process: subprocess.Popen[bytes]
    log: Path
    killed: bool = False
    paused: bool = False
    mark: int = 0

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Process:
    """A command of the gateway; it has a `port` where it answers. `offset` is how many seconds its clock is
    ahead."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    port: int | None = None
    lives: list[Life] = field(default_factory=list)
    offset: float = 0.0

    def __post_init__(self) -> None:
        self._offset_file = self.folder / f"{self.name}.offset"
        self.step(0)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def works(self) -> bool:
        """Whether it has a worker."""
        return "--no-workers" not in self.words

    @property
    def is_up(self) -> bool:
        """Whether it has come so far that it answers, or works."""
        if not self.life.runs or self.port is None:
            return self.life.runs and "worker started" in self.life.said()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def surroundings(self) -> dict[str, str]:
        """Its environment: settings that the harness finds in its own are of another gateway."""
        others = {name: value for name, value in os.environ.items() if not name.upper().startswith(_SETTINGS)}
        return {**others, **self.environment, OFFSET_FILE: str(self._offset_file)}

    def mark(self) -> None:
        """From now on it has to work anew."""
        self.life.mark = self.life.log.stat().st_size

    @property
    def has_worked(self) -> bool:
        """Whether it has polled an account since it was marked or started."""
        with self.life.log.open("rb") as file:
            file.seek(self.life.mark)
            return POLLED.encode() in file.read()

    @property
    def has_died(self) -> bool:
        """Whether it ended although nobody killed it."""
        return bool(self.lives) and not self.life.runs and not self.life.killed

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C reaches the harness alone."""
        log = self.folder / f"{self.name}-{len(self.lives) + 1}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "app.torture.stepped", *self.words],
                env=self.surroundings,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.lives.append(Life(process, log))

    def kill(self) -> bool:
        """kill -9. False where it does not run."""
        if not self.life.runs:
            return False
        self.life.killed = True
        self.life.process.kill()
        self.life.process.wait()
        return True

    def pause(self) -> bool:
        """SIGSTOP. False where it does not run, or is stopped already."""
        if not self.life.runs or self.life.paused:
            return False
        self.life.process.send_signal(signal.SIGSTOP)
        self.life.paused = True
        return True

    def resume(self, life: Life) -> None:
        """SIGCONT to the life that was stopped, if it is not over."""
        life.paused = False
        if life.runs:
            life.process.send_signal(signal.SIGCONT)

    def step(self, seconds: float) -> None:
        """Sets its clock ahead, or back; the file is replaced as a whole because it is read all the time."""
        self.offset = seconds
        fresh = self._offset_file.with_suffix(".new")
        fresh.write_text(f"{seconds:.3f}")
        fresh.replace(self._offset_file)


def free_port() -> int:
    """A port of the loopback that nobody has just now; none of those that systems give to connections, for
    it is bound only later, and again after each kill."""
    while True:
        port = random.randrange(*_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def secrets_of(life: Life) -> dict[str, str]:
    """The secrets that the first start on an empty database prints, by `Organization` and `User`."""
    return dict(re.findall(r"^  (Organization|User) (\S+)$", life.said(), re.MULTILINE))
