"""An append-only log of numbered records under one prefix: the way that everything versioned is written.

The n-th record is the object `<prefix>/<n as 12 digits>.json`, written by put-if-absent. Of writers that race for one
number exactly one wins, and the others take the next. Nothing is ever replaced.
"""

from __future__ import annotations

import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tradewind.errors import ConflictError, NotFoundError
from tradewind.records import Record
from tradewind.storage.probe import require_exclusive_create
from tradewind.storage.store import Store

R = TypeVar("R", bound=Record)

ATTEMPTS = 50
_ENTRY = re.compile(r"[0-9]{12}\.json")


@dataclass(frozen=True)
class RecordLog(Generic[R]):
    store: Store
    prefix: str
    record: type[R]

    def numbers(self) -> list[int]:
        """All numbers written so far, ascending. Other objects below the prefix do not count."""
        return sorted(self._numbers())

    def read(self, number: int) -> R:
        """Raises NotFoundError when that number was never written, IntegrityError when it is damaged."""
        key = self._key(number)
        return self.record.from_json(self.store.get(key), where=f"{self.store.url}/{key}")

    def all(self) -> Iterator[R]:
        return (self.read(number) for number in self.numbers())

    def latest(self) -> R:
        """The newest record. Raises NotFoundError when there is none."""
        numbers = self.numbers()
        if not numbers:
            raise NotFoundError(f"nothing is recorded at {self.store.url}/{self.prefix}")
        return self.read(numbers[-1])

    def append(self, make: Callable[[int, str], R]) -> R:
        """Write `make(number, writer)` under the next free number, where `writer` is unique to this call.

        Raises ConflictError after many lost races in a row, SpecError for a store that is not made for racing writers.
        """
        require_exclusive_create(self.store)
        writer = uuid.uuid4().hex
        number = (self.numbers() or [0])[-1]
        for attempt in range(ATTEMPTS):
            number += 1
            record = make(number, writer)
            data = record.to_json()
            try:
                self.store.create(self._key(number), data)
                return record
            except ConflictError:
                # A retried request may find its own first try: then this call has won after all.
                if self.store.get(self._key(number)) == data:
                    return record
                time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 10)))
                number = max([number, *self._numbers(after=self._key(number))])
        raise ConflictError(f"{ATTEMPTS} other writers were faster at {self.store.url}/{self.prefix}", hint="try again")

    def _numbers(self, *, after: str | None = None) -> Iterator[int]:
        names = (item.key.removeprefix(f"{self.prefix}/") for item in self.store.list(self.prefix, after=after))
        return (int(name.removesuffix(".json")) for name in names if _ENTRY.fullmatch(name))

    def _key(self, number: int) -> str:
        return f"{self.prefix}/{number:012d}.json"
