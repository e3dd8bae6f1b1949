"""Inputs of many requests, given to a model in batches that keep each request's deadline.

A batch leaves as soon as the model is free, with what waits: nobody waits for others to come. What comes meanwhile
makes the next batch larger, up to the size that `BatchTimes` finds worth it. A request is taken on only while it and
all that were taken on before can be answered in time by the measured times; it is refused at once otherwise.

Ray Serve's `@serve.batch` is not used: it knows no deadlines, its size is fixed beforehand, and it works inside a
deployment of Serve alone (it asks for the replica's context).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.engines.predict.batch_times import BatchTimes
from tradewind.engines.predict.plan import Plan
from tradewind.errors import CapacityError, RunError

MARGIN_S = 0.002
"""An answer is planned to be there so long before its deadline: a loop and a thread take their time."""
DOUBT_AFTER_S = 1.0
"""Times that nothing has confirmed for so long are not believed when they alone speak against a request."""

PLANNED = 512
"""Of more inputs no plan is made, which would take too long: they go in full batches, or are refused."""

Run = Callable[[list[Any]], Awaitable[Sequence[Any]]]


class LateError(Exception):
    """The answer cannot be there before the deadline, or is not."""


class BusyError(Exception):
    """It could alone, but others are before it. `wait_s` is when they will be done."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(slots=True, eq=False)
class Item:
    """One input on its way."""

    value: Any
    due: float
    answer: asyncio.Future[Any]


@dataclass(frozen=True)
class Ticket:
    """A request that was taken on."""

    batcher: Batcher
    items: list[Item]
    deadline: float

    async def outputs(self) -> list[Any]:
        """The output of each input. Raises LateError at the deadline, and whatever the model raised for an input."""
        try:
            async with asyncio.timeout_at(self.deadline):
                return [await item.answer for item in self.items]
        except TimeoutError as exc:
            raise LateError("the answer was not there before its deadline") from exc
        finally:
            self.batcher.forget(self.items)


class Batcher:
    """Belongs to the loop that is running when it is made. Times are those of the loop's clock."""

    def __init__(self, run: Run, times: BatchTimes, *, margin_s: float = MARGIN_S) -> None:
        self.times = times
        self.running = 0
        """Inputs of the batch that the model has now."""
        self._run = run
        self._margin_s = margin_s
        self.loop = asyncio.get_running_loop()
        self._waiting: list[Item] = []
        """The nearest deadline first."""
        self._free_at = 0.0
        self._heard_at = 0.0
        self._plan: Plan | None = None
        """Of what waits; None when it is to be made anew."""
        self._is_going = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def admit(self, values: Sequence[Any], deadline: float) -> Ticket:
        """Take a request on.

        Raises LateError or BusyError where its deadline cannot be kept, CapacityError once closed.
        """
        if self._is_closed:
            raise CapacityError("the engine is stopping", hint="ask again; another replica will answer")
        due = deadline - self._margin_s
        self._check(len(values), due)
        items = [Item(value, due, self.loop.create_future()) for value in values]
        for item in items:
            insort(self._waiting, item, key=lambda one: one.due)
        self._go()
        return Ticket(self, items, deadline)

    def forget(self, items: Sequence[Item]) -> None:
        """Nobody waits for these any more."""
        left = set()
        for item in items:
            if item.answer.cancel() or item.answer.cancelled():
                left.add(item)
            else:
                item.answer.exception()  # seen: the request may have ended with another input's
        if left:
            self._waiting = [item for item in self._waiting if item not in left]
            self._plan = None

    def close(self) -> None:
        """End what waits with an error. What the model has now is answered."""
        self._is_closed = True
        for item in self._waiting:
            if not item.answer.done():
                item.answer.set_exception(CapacityError("the engine is stopping", hint="ask again"))
        self._waiting, self._plan = [], None

    # Who is taken on

    def _check(self, count: int, due: float) -> None:
        now = self.loop.time()
        free_at = max(now, self._free_at)
        if self._fits_in_full_batches(free_at, due, count):
            self._plan = None
            return
        if self._fits_in_some_batches(now, free_at, due, count):
            return
        if self._takes(count) <= due - now:
            wait_s = free_at - now + self._takes(self.waiting)
            raise BusyError(f"{self.running + self.waiting} inputs are before it, too many", wait_s)
        if self.running or self._waiting or due <= now or now - self._heard_at < DOUBT_AFTER_S:
            takes = f"{1000 * self._takes(count):.3g} ms for {count} input{'s' if count > 1 else ''}"
            raise LateError(f"the model takes {takes}, longer than there is until the deadline")
        self._plan = None

    def _fits_in_full_batches(self, end: float, due: float, count: int) -> bool:
        """Whether all is in time when batches are as large as they go; found at the least cost."""
        waiting, limit = self._waiting, self.times.limit
        total, at = len(waiting) + count, bisect_right(waiting, due, key=lambda one: one.due)
        for first in range(0, total, limit):
            end += self.times.of(min(limit, total - first))
            is_new = at <= first < at + count
            if end > (due if is_new else waiting[first if first < at else first - count].due):
                return False
        return True

    def _fits_in_some_batches(self, now: float, free_at: float, due: float, count: int) -> bool:
        if len(self._waiting) + count > PLANNED:
            return False
        if self._plan is None or now > self._free_at:
            self._plan = self._planned(free_at)[0]
        return self._plan.add(due, count)

    def _takes(self, count: int) -> float:
        """Seconds of so many inputs, in batches as large as they go."""
        full, rest = divmod(count, self.times.limit)
        return full * self.times.of(self.times.limit) + (self.times.of(rest) if rest else 0.0)

    def _planned(self, free_at: float) -> tuple[Plan, list[Item]]:
        """A plan for what waits, and those that do not go into it: batches took longer than was planned."""
        plan = Plan(free_at, self.times.upto(self.times.limit))
        return plan, [item for item in self._waiting if not plan.add(item.due)]

    # What goes when

    def _go(self) -> None:
        """Let a batch leave with all that comes in this turn of the loop."""
        if not self.running and not self._is_going and self._waiting:
            self._is_going = True
            self.loop.call_soon(self._leave)

    def _leave(self) -> None:
        self._is_going = False
        self._waiting = [item for item in self._waiting if not item.answer.done()]  # their requests have just ended
        size = self._size_now()
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        self._plan = None
        if batch:
            self.running = len(batch)
            self._free_at = self.loop.time() + self.times.of(len(batch))
            self._task = self.loop.create_task(self._answer(batch))

    def _size_now(self) -> int:
        now, count = self.loop.time(), len(self._waiting)
        if count > PLANNED or self._fits_in_full_batches(now, 0.0, 0):
            return min(count, self.times.limit)
        plan, late = self._planned(now)
        if late and now - self._heard_at >= DOUBT_AFTER_S:
            return min(count, self.times.limit)
        for item in late:
            item.answer.set_exception(LateError("batches before it took longer than was planned"))
        self._waiting = [item for item in self._waiting if item not in late]
        return plan.first_batch()

    async def _answer(self, batch: list[Item]) -> None:
        try:
            began = self.loop.time()
            outputs = await self._run([item.value for item in batch])
            self._heard_at = self.loop.time()
            self.times.add(len(batch), self._heard_at - began)
            for item, output in zip(batch, _one_each(outputs, len(batch)), strict=True):
                if not item.answer.done():
                    item.answer.set_result(output)
        except Exception as exc:  # noqa: BLE001 - the model's own, which is told to whom it concerns
            await self._answer_alone(batch, exc)
        finally:
            self.running, self._free_at = 0, self.loop.time()
            self._plan = None
            self._go()

    async def _answer_alone(self, batch: list[Item], failure: Exception) -> None:
        """One input made a batch fail: each is asked alone, so that the others are answered."""
        if len(batch) == 1 or isinstance(failure, RunError):
            for item in batch:
                _fail(item, failure)
            return
        self._free_at = self.loop.time() + len(batch) * self.times.of(1)
        for item in batch:
            if not item.answer.done():
                await self._answer_one(item)

    async def _answer_one(self, item: Item) -> None:
        try:
            (output,) = _one_each(await self._run([item.value]), 1)
        except Exception as exc:  # noqa: BLE001 - the model's own
            _fail(item, exc)
        else:
            if not item.answer.done():
                item.answer.set_result(output)


def _one_each(outputs: Sequence[Any], count: int) -> Sequence[Any]:
    if len(outputs) != count:
        raise RunError(f"the model gave {len(outputs)} outputs for {count} inputs", hint="predict gives one for each")
    return outputs


def _fail(item: Item, failure: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(failure)
