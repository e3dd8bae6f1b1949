"""The batcher on a clock that is turned by hand: a model's batches take exactly what its law says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.test_echo import HandTurned
from tradewind.engines.predict.batch_times import BatchTimes
from tradewind.engines.predict.batcher import DOUBT_AFTER_S, Batcher, BusyError, LateError
from tradewind.errors import CapacityError, RunError

MS = 0.001
HALF_MS = MS / 2
"""Deadlines lie between the milliseconds at which batches end, so that none is met or missed by a rounding."""


@dataclass
class Model:
    """Seconds of a batch are `fixed_s` and `each_s` for each input. It says each input again, and fails for "bad"."""

    fixed_s: float = 0.010
    each_s: float = 0.001
    batches: list[list[Any]] = field(default_factory=list)

    def takes_s(self, size: int) -> float:
        return self.fixed_s + self.each_s * size

    async def run(self, batch: list[Any]) -> list[Any]:
        self.batches.append(batch)
        await asyncio.sleep(self.takes_s(len(batch)))
        if "bad" in batch:
            raise ValueError("this is bad")
        return [one for one in batch if one != "lost"]

    def batcher(self, *, limit: int = 1) -> Batcher:
        """One that knows how long batches up to a limit take."""
        times = BatchTimes()
        for size in range(1, limit + 1):
            for _ in range(2):
                times.add(size, self.takes_s(size))
        times.limit = limit
        return Batcher(self.run, times, margin_s=0)


def now() -> float:
    return asyncio.get_running_loop().time()


def turn(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=HandTurned) as runner:
        return runner.run(work)


async def ask(batcher: Batcher, *values: Any, within_s: float = 60.0) -> list[Any]:
    return await batcher.admit(values, now() + within_s).outputs()


@dataclass(frozen=True)
class Asked:
    at_s: float
    patience_s: float
    count: int


@dataclass
class Outcome:
    refused: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)


async def served(model: Model, trace: list[Asked]) -> Outcome:
    """What becomes of requests that come at their times."""
    batcher, outcome = model.batcher(), Outcome()

    async def one(number: int, asked: Asked) -> None:
        await asyncio.sleep(asked.at_s)
        values = [(number, index) for index in range(asked.count)]
        try:
            ticket = batcher.admit(values, now() + asked.patience_s)
        except (LateError, BusyError):
            outcome.refused.append(number)
            return
        try:
            if await ticket.outputs() != values:
                outcome.wrong.append(number)
        except LateError:
            outcome.late.append(number)

    await asyncio.gather(*(one(number, asked) for number, asked in enumerate(trace)))
    assert (batcher.running, batcher.waiting) == (0, 0)
    return outcome


MODELS = st.builds(
    Model,
    fixed_s=st.integers(0, 20).map(lambda ms: ms * MS),
    each_s=st.integers(1, 5).map(lambda ms: ms * MS),
)
GAPS_MS = st.lists(st.one_of(st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=40)


def trace_of(gaps_ms: list[int], patiences_ms: list[int], counts: list[int]) -> list[Asked]:
    arrivals = accumulate(gaps_ms)
    return [
        Asked(at * MS, patience * MS + HALF_MS, count)
        for at, patience, count in zip(arrivals, patiences_ms, counts, strict=True)
    ]


@given(MODELS, GAPS_MS, st.data())
def test_request_that_is_taken_on_is_answered_before_its_deadline(model: Model, gaps: list[int], data: Any) -> None:
    patiences = data.draw(st.lists(st.integers(1, 200), min_size=len(gaps), max_size=len(gaps)))
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(gaps), max_size=len(gaps)))
    outcome = turn(served(model, trace_of(gaps, patiences, counts)))
    assert outcome.late == outcome.wrong == []


@given(MODELS, GAPS_MS, st.integers(1, 200))
def test_none_is_refused_where_one_after_the_other_would_do(model: Model, gaps: list[int], patience: int) -> None:
    trace = trace_of(gaps, [patience] * len(gaps), [1] * len(gaps))
    ends = accumulate((asked.at_s for asked in trace), lambda end, at: max(end, at) + model.takes_s(1), initial=0.0)
    feasible = all(end <= asked.at_s + asked.patience_s for end, asked in zip(list(ends)[1:], trace, strict=True))
    outcome = turn(served(model, trace))
    assert not (feasible and outcome.refused)


@given(MODELS, GAPS_MS)
def test_patient_requests_are_all_answered(model: Model, gaps: list[int]) -> None:
    outcome = turn(served(model, trace_of(gaps, [10_000] * len(gaps), [3] * len(gaps))))
    assert outcome == Outcome()


def test_one_alone_leaves_at_once() -> None:
    model = Model()

    async def story() -> float:
        batcher = model.batcher(limit=8)
        await ask(batcher, "one")
        return now()

    assert turn(story()) == pytest.approx(model.takes_s(1))


def test_what_comes_while_the_model_works_goes_together() -> None:
    model = Model()

    async def story() -> None:
        batcher = model.batcher(limit=4)
        await asyncio.gather(ask(batcher, 0), *(_later(batcher, number) for number in range(1, 7)))

    turn(story())
    assert [len(batch) for batch in model.batches] == [1, 4, 2]


async def _later(batcher: Batcher, value: Any, **wish: Any) -> list[Any]:
    await asyncio.sleep(0.001)
    return await ask(batcher, value, **wish)


def test_batches_grow_under_load_until_they_gain_nothing() -> None:
    model = Model(fixed_s=0.010, each_s=0.001)

    async def story() -> int:
        batcher = model.batcher()

        async def client() -> None:
            for _ in range(40):
                await ask(batcher, "x")

        await asyncio.gather(*(client() for _ in range(200)))
        return batcher.times.limit

    assert turn(story()) >= 64  # as the law says: see the tests of BatchTimes
    assert max(map(len, model.batches)) > 64  # which was tried


def test_nearest_deadline_makes_the_batch_smaller() -> None:
    """Eight would take 18 ms; the one in a hurry has 12 when the model is free."""
    model = Model()

    async def story() -> None:
        batcher = model.batcher(limit=8)
        patient = [_later(batcher, number) for number in range(7)]
        await asyncio.gather(ask(batcher, "first"), *patient, _later(batcher, "hurry", within_s=0.0225))

    turn(story())
    assert model.batches[0] == ["first"]
    assert model.batches[1][0] == "hurry"
    assert len(model.batches[1]) < 8


def test_what_cannot_be_met_is_refused_at_once() -> None:
    async def story() -> None:
        batcher = Model().batcher(limit=4)
        with pytest.raises(LateError, match="takes 11 ms for 1 input,"):
            batcher.admit([1], now() + 0.005)
        first = asyncio.ensure_future(ask(batcher, 1))
        await asyncio.sleep(0.001)
        with pytest.raises(BusyError, match="1 inputs are before it") as caught:
            batcher.admit([2], now() + 0.012)
        assert caught.value.wait_s == pytest.approx(0.010)
        assert await first == [1]
        assert batcher.waiting == 0

    turn(story())


def test_times_that_nobody_confirmed_for_long_are_doubted() -> None:
    """A model that was slow once is not refused for ever: it is asked again, and found to be fast."""
    model = Model(fixed_s=2.0)

    async def story() -> None:
        batcher = model.batcher()
        await ask(batcher, "slow")
        model.fixed_s = 0.010
        with pytest.raises(LateError):
            await ask(batcher, "refused", within_s=1.0)
        await asyncio.sleep(DOUBT_AFTER_S)
        assert await ask(batcher, "tried", within_s=1.0) == ["tried"]

    turn(story())


def test_model_that_is_slower_than_it_was_makes_no_one_wait_beyond_the_deadline() -> None:
    model = Model()

    async def story() -> None:
        batcher = model.batcher(limit=2)
        model.fixed_s = 1.0
        asked = [_later(batcher, number, within_s=0.1) for number in range(4)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in outcomes] == [LateError] * 4
        assert now() == pytest.approx(0.101)

    turn(story())


def test_input_that_makes_the_model_fail_fails_alone() -> None:
    async def story() -> None:
        batcher = Model().batcher(limit=4)
        outcomes = await asyncio.gather(
            *(ask(batcher, value) for value in ("first", "good", "bad", "better")), return_exceptions=True
        )
        assert [outcomes[0], outcomes[1], outcomes[3]] == [["first"], ["good"], ["better"]]
        assert isinstance(outcomes[2], ValueError)
        assert await ask(batcher, "later") == ["later"]

    turn(story())


def test_other_number_of_outputs_fails_the_whole_batch() -> None:
    async def story() -> None:
        batcher = Model().batcher(limit=4)
        with pytest.raises(RunError, match="the model gave 1 outputs for 2 inputs"):
            await ask(batcher, "kept", "lost")
        assert await ask(batcher, "kept") == ["kept"]

    turn(story())


def test_input_that_nobody_waits_for_does_not_go_to_the_model() -> None:
    model = Model()

    async def story() -> None:
        batcher = model.batcher(limit=4)
        first = asyncio.ensure_future(ask(batcher, "first"))
        await asyncio.sleep(0.001)
        gone, stays = (asyncio.ensure_future(ask(batcher, value)) for value in ("gone", "stays"))
        await asyncio.sleep(0.001)
        gone.cancel()
        assert [await first, await stays] == [["first"], ["stays"]]

    turn(story())
    assert model.batches == [["first"], ["stays"]]


def test_request_that_ends_in_the_turn_in_which_its_batch_would_leave_is_left_out() -> None:
    model = Model()

    async def story() -> None:
        batcher = model.batcher(limit=4)
        ended = batcher.admit(["ended"], now() + 0.020)
        stays = batcher.admit(["stays"], now() + 60)
        ended.items[0].answer.cancel()  # as a deadline does, before it is forgotten
        assert await stays.outputs() == ["stays"]
        batcher.forget(ended.items)

    turn(story())
    assert model.batches == [["stays"]]


def test_closed_batcher_answers_what_the_model_has_and_refuses_the_rest() -> None:
    async def story() -> None:
        batcher = Model().batcher(limit=4)
        first = asyncio.ensure_future(ask(batcher, "first"))
        await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(ask(batcher, "waiting"))
        await asyncio.sleep(0.001)
        batcher.close()
        assert await first == ["first"]
        with pytest.raises(CapacityError):
            await waiting
        with pytest.raises(CapacityError):
            await ask(batcher, "new")

    turn(story())
