"""Ids of what is written in batches: events, notifications and deliveries."""

from __future__ import annotations

import itertools
import secrets
import time
from datetime import UTC, datetime

LARGEST_ID = 2**63 - 1
"""The largest id that both databases hold."""

_EPOCH_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
_COUNTER_BITS = 22  # leaves 41 bits of milliseconds: enough until 2093
_counter = itertools.count(secrets.randbits(_COUNTER_BITS))


def new_id() -> int:
    """A positive 63-bit number that rises with time.

    It is known before the row is written, so a page of events and the bodies that name them go out
    in one batch. Two processes may, very rarely, draw the same one: the primary key then refuses the
    transaction, and its step is repeated with new ids.
    """
    milliseconds = time.time_ns() // 1_000_000 - _EPOCH_MS
    return milliseconds << _COUNTER_BITS | next(_counter) % (1 << _COUNTER_BITS)
