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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from tradewind.errors import ConflictError, NotFoundError
from tradewind.records import Record
from tradewind.storage.probe import require_exclusive_create
from tradewind.storage.store import Store

R = TypeVar("R", bound=Record)

ATTEMPTS = 50
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 2.0
"""Between attempts, at random up to a bound that doubles: so few of many writers are in each other's way."""
READERS = 8
_ENTRY = re.compile(r"[0-9]{12}\.json")


@dataclass(frozen=True)
class RecordLog(Generic[R]):
    store: Store
    prefix: str
    record: type[R]

    def numbers(self, *, after: int = 0) -> list[int]:
        """All numbers above `after`, ascending: what is below is not even listed. Other objects do not count."""
        found = self.store.list(self.prefix, after=self.key(after) if after else None)
        names = (item.key.removeprefix(f"{self.prefix}/") for item in found)
        return sorted(int(name.removesuffix(".json")) for name in names if _ENTRY.fullmatch(name))

    def key(self, number: int) -> str:
        """Where in the store the record of a number is."""
        return f"{self.prefix}/{number:012d}.json"

    def read(self, number: int) -> R:
        """Raises NotFoundError when that number was never written, IntegrityError when it is damaged."""
        key = self.key(number)
        return self.record.from_json(self.store.get(key), where=f"{self.store.url}/{key}")

    def all(self) -> Iterator[R]:
        """Every record in the order of the numbers, several read at once."""
        numbers = self.numbers()
        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(self.read, numbers)

    def latest(self) -> R:
        """The newest record. Raises NotFoundError when there is none."""
        numbers = self.numbers()
        if not numbers:
            raise NotFoundError(f"nothing is recorded at {self.store.url}/{self.prefix}")
        return self.read(numbers[-1])

    def append(self, make: Callable[[int, str], R], *, after: int = 0) -> R:
        """Write `make(number, writer)` under the next free number, where `writer` is unique to this call.

        `after` is a number that was written: what is below it is not listed. Raises ConflictError after many lost races
        in a row, SpecError for a store that is not made for racing writers.
        """
        require_exclusive_create(self.store)
        writer, pause_s = uuid.uuid4().hex, FIRST_PAUSE_S
        number = self._last(after)
        for _ in range(ATTEMPTS):
            number += 1
            record = make(number, writer)
            data = record.to_json()
            try:
                self.store.create(self.key(number), data)
                return record
            except ConflictError:
                # A retried request may find its own first try: then this call has won after all.
                if self.store.get(self.key(number)) == data:
                    return record
            time.sleep(random.uniform(0, pause_s))
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
            number = self._last(number)
        raise ConflictError(f"{ATTEMPTS} other writers were faster at {self.store.url}/{self.prefix}", hint="try again")

    def _last(self, after: int) -> int:
        return max([after, *self.numbers(after=after)])
