"""Ids of what is written in batches: events, notifications and deliveries."""

from __future__ import annotations

import itertools
import secrets
import time
from datetime import UTC, datetime

LARGEST_ID = 2**63 - 1
"""The largest id that both databases hold."""

EPOCH_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
COUNTER_BITS = 22  # leaves 41 bits of milliseconds: enough until 2093
SLACK = 60_000 << COUNTER_BITS
"""Ids of one minute: the time in an id is that of its drawing, a little after the one that its row says."""

_counter = itertools.count(secrets.randbits(COUNTER_BITS))


def new_id() -> int:
    """A positive 63-bit number that rises with time.

    It is known before the row is written, so a page of events and the bodies that name them go out
    in one batch. Two processes may, very rarely, draw the same one: the primary key then refuses the
    transaction, and its step is repeated with new ids.
    """
    milliseconds = time.time_ns() // 1_000_000 - EPOCH_MS
    return milliseconds << COUNTER_BITS | next(_counter) % (1 << COUNTER_BITS)


def first_id_at(moment: datetime) -> int:
    """The smallest id that can be drawn at this time, to the millisecond: what was drawn earlier is below."""
    milliseconds = int(moment.timestamp() * 1000) - EPOCH_MS
    return min(max(milliseconds, 0) << COUNTER_BITS, LARGEST_ID)
