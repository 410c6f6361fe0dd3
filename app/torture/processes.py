"""One process of the gateway: started, killed, stopped for a while, started again under the same name."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.torture.stepped import OFFSET_FILE


@dataclass
class Life:
    """From one start to one end; `killed` says that the harness has ended it."""

    process: subprocess.Popen[bytes]
    log: Path
    killed: bool = False
    paused: bool = False

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
    def is_up(self) -> bool:
        """Whether it has come so far that it answers, or works."""
        if not self.life.runs or self.port is None:
            return self.life.runs and "worker started" in self.life.said()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

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
                env=os.environ | self.environment | {OFFSET_FILE: str(self._offset_file)},
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
    """A port of the loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def secrets_of(life: Life) -> dict[str, str]:
    """The secrets that the first start on an empty database prints, by `Organization` and `User`."""
    return dict(re.findall(r"^  (Organization|User) (\S+)$", life.said(), re.MULTILINE))
