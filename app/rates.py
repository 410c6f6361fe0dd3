"""How often somebody may ask: each caller in all, and whoever fails to prove who he is."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from app.errors import GatewayError, TooManyRequests, Unauthorized
from app.recent import Recent

_KEPT = 100_000  # keys of some 150 bytes each; those seen longest ago are forgotten
_BURST = 5  # seconds' worth of a caller's requests that may come at once
_MINUTE = 60.0
_WIDER = 10  # times as many failures of one address, or of one name, as of one name at one address


class Allowance:
    """For each key a burst, and then so many per second (GCRA: of a key only one time is kept). A key is a
    hash of Python's, which is seeded anew in each process: no secret is kept, and none can be guessed at."""

    def __init__(self, *, burst: float, per_second: float) -> None:
        self._step = 1 / per_second
        self._slack = (burst - 0.5) * self._step  # half a step more than exact sums would need
        self._due: OrderedDict[int, float] = OrderedDict()

    def wait(self, key: int, now: float) -> float:
        """Seconds until one more is allowed; 0 at once."""
        return max(0.0, self._due.get(key, now) - now - self._slack)

    def count(self, key: int, now: float) -> None:
        """Counts one more, allowed or not."""
        self._due[key] = max(self._due.get(key, now), now) + self._step
        self._due.move_to_end(key)
        if len(self._due) > _KEPT:
            self._due.popitem(last=False)

    def forgive(self, key: int) -> None:
        """Takes one back."""
        if key in self._due:
            self._due[key] -= self._step

    def __len__(self) -> int:
        return len(self._due)


class Rates:
    """What this process has counted (docs/decisions/0016). `callers` are requests per second of one caller,
    `failures` failed authentications per minute; 0 counts nothing."""

    def __init__(self, *, callers: float, failures: int, now: Callable[[], float] = time.monotonic) -> None:
        self._callers = Allowance(burst=max(1, callers * _BURST), per_second=callers) if callers else None
        self._counts = bool(failures)
        self._narrow = _per_minute(failures or 1)
        self._wide = _per_minute((failures or 1) * _WIDER)
        self._known = Recent(timedelta.max, limit=_KEPT)
        self._now = now

    def caller(self, proof: str | None) -> None:
        """Counts a request of whoever has sent this secret or token. Raises TooManyRequests."""
        if self._callers is None:
            return
        key, now = hash(proof), self._now()
        if wait := self._callers.wait(key, now):
            raise TooManyRequests("Too many requests of this caller; try again later", retry_after=wait)
        self._callers.count(key, now)

    @contextmanager
    def attempt(
        self,
        address: str,
        *presented: str | None,
        name: str | None = None,
        alone: bool = False,
        refusal: type[GatewayError] = Unauthorized,
    ) -> Iterator[None]:
        """Surrounds the look at what somebody has presented; a `refusal` in it counts as a failure.

        Raises TooManyRequests, before any look, after too many failures of the same at the same address,
        and, unless it stands `alone` or has been right there before, of the address or of the name. Whoever
        says his name is guessing at a password: he counts from the start, lest many guesses are made at once.
        """
        if not self._counts:
            yield
            return
        place = _place(address)
        same = hash((place, name, *presented))
        keys = [(self._narrow, same)]
        if not alone:
            keys.append((self._wide, hash((place,))))
        if name is not None:
            keys.append((self._wide, hash(("name", name))))
        at_first, at_failure = ([], keys) if name is None else (keys, [])
        self._check(keys if self._known.new([same]) else keys[:1])
        self._count(at_first)
        try:
            yield
        except refusal:
            self._count(at_failure)
            raise
        except BaseException:
            _forgive(at_first)
            raise
        _forgive(at_first)
        if not alone:
            self._known.note([same])

    def _check(self, keys: Iterable[tuple[Allowance, int]]) -> None:
        now = self._now()
        if wait := max(allowance.wait(key, now) for allowance, key in keys):
            raise TooManyRequests("Too many failed authentications; try again later", retry_after=wait)

    def _count(self, keys: Iterable[tuple[Allowance, int]]) -> None:
        now = self._now()
        for allowance, key in keys:
            allowance.count(key, now)


def _forgive(keys: Iterable[tuple[Allowance, int]]) -> None:
    for allowance, key in keys:
        allowance.forgive(key)


def _per_minute(count: int) -> Allowance:
    return Allowance(burst=count, per_second=count / _MINUTE)


@lru_cache(10_000)
def _place(address: str) -> str:
    """Whoever has an IPv6 address has the 2^64 that begin as it does."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:100]
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))
