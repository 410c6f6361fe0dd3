"""The child that ends a harness's PostgreSQL and removes its folder where the harness could not do it itself:
it was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATA = "data"
"""The name of the data folder."""


@contextmanager
def watched(program: Path, folder: Path) -> Iterator[None]:
    """`folder` is gone afterwards, and the server in it has ended, whatever becomes of this process.
    `program` is `pg_ctl`."""
    watchdog = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "app.torture.watchdog", str(program), str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # so that what ends the group of the harness leaves it alone
    )
    try:
        yield
    finally:
        watchdog.communicate()


def main() -> None:
    """Waits until the other end of the standard input is closed, which the system does for the dead."""
    program, folder = sys.argv[1], Path(sys.argv[2])
    sys.stdin.buffer.read()
    data = folder / DATA
    if data.exists():
        owner = data.stat().st_uid
        subprocess.run(  # noqa: S603 - our own command
            [program, "-D", str(data), "-w", "-m", "immediate", "stop"],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if owner == os.geteuid() else owner,
        )
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
