"""What this process remembers of accounts between calls: hints that may vanish or be out of date."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping


class Hints:
    """The newest `limit` hints of all accounts together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[int, str], str] = OrderedDict()

    def of(self, account: int) -> MutableMapping[str, str]:
        """The hints of one account."""
        return _Hints(account, self._kept, self._limit)


class _Hints(MutableMapping[str, str]):
    def __init__(self, account: int, kept: OrderedDict[tuple[int, str], str], limit: int) -> None:
        self._account = account
        self._kept = kept
        self._limit = limit

    def __getitem__(self, key: str) -> str:
        value = self._kept[self._account, key]
        self._kept.move_to_end((self._account, key))
        return value

    def __setitem__(self, key: str, value: str) -> None:
        self._kept[self._account, key] = value
        self._kept.move_to_end((self._account, key))
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def __delitem__(self, key: str) -> None:
        del self._kept[self._account, key]

    def __iter__(self) -> Iterator[str]:
        return (key for account, key in list(self._kept) if account == self._account)

    def __len__(self) -> int:
        return sum(1 for _ in self)
