"""The entry of a process under torture: the command `gateway` with a clock that can be stepped from outside,
and with lines in the log for each refresh that is asked of a vendor, and for each poll."""

from __future__ import annotations

import ctypes
import logging
import os
import runpy
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.clock import Clock
from app.errors import GatewayError
from app.polling.poller import PollWorker
from app.store.tables import Poller
from app.upstream import oauth

OFFSET_FILE = "TORTURE_OFFSET_FILE"
"""The variable that names the file with the seconds that this process is ahead."""

POLLED = "account polled"
"""The line of a poll that has ended."""

_PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


def main() -> None:
    """Runs the command that the arguments name."""
    _end_with_the_harness()
    _step_the_clock(Path(os.environ[OFFSET_FILE]))
    _note_refreshes()
    _note_polls()
    runpy.run_module("app", run_name="__main__")


def _end_with_the_harness() -> None:
    """Also where that is killed itself and can end nobody; only Linux knows how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _step_the_clock(offset: Path) -> None:
    def now(_: Clock) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(offset.read_text()))

    Clock.now = now  # type: ignore[assignment, method-assign]


def _note_refreshes() -> None:
    """Between `asked` and the line that tells of stored tokens, a kill loses a grant that works once."""
    refresh = oauth.refresh

    async def noted(client: Any, spec: Any, base_url: str, app: oauth.App, *more: Any) -> oauth.Tokens:
        log.info("refresh asked", extra={"client": app.client_id})
        try:
            return await refresh(client, spec, base_url, app, *more)
        except GatewayError as error:
            answered = getattr(error, "vendor_status", None) is not None
            log.info("refresh failed", extra={"client": app.client_id, "answered": answered})
            raise

    oauth.refresh = noted  # type: ignore[assignment]


def _note_polls() -> None:
    """A process that hangs looks like one that has nothing to do, but for this line."""
    run = PollWorker.run

    async def noted(self: PollWorker, poller: Poller) -> bool:
        is_due = await run(self, poller)
        log.info(POLLED)
        return is_due

    PollWorker.run = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
