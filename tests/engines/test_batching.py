"""The scheduler over a model whose next token follows from the last one, so that every mix-up of rows shows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.engines import Sampling
from tradewind.engines.batching import Batcher, Limits, Request
from tradewind.engines.tally import Tally
from tradewind.engines.text import TextStream

VOCABULARY = 64
END = 63


class Counting:
    """Rows of tokens; the next token of a sequence is 7 more than its last one, and its rows are checked."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = [[] for _ in range(40)]
        self.passes: list[int] = []
        """Tokens of each forward pass."""

    def forward(
        self, first: int, starts: Sequence[int], tokens: Sequence[Sequence[int]], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        self.passes.append(sum(map(len, tokens)))
        scores = torch.zeros(len(tokens), VOCABULARY)
        for index, (start, new) in enumerate(zip(starts, tokens, strict=True)):
            row = self.rows[first + index] = [*self.rows[first + index][:start], *new]
            assert len(row) == start + len(new)
            scores[index, following(row)] = 1
        return scores

    def move(self, source: int, target: int, length: int) -> None:
        self.rows[target] = self.rows[source][:length]


class Broken(Counting):
    def forward(self, *_: Any) -> torch.Tensor:
        raise RuntimeError("the mast broke")


def following(row: Sequence[int]) -> int:
    return (7 * len(row) + sum(row)) % VOCABULARY


def expected(prompt: Sequence[int], most: int) -> list[int]:
    row = list(prompt)
    while len(row) < len(prompt) + most:
        row.append(following(row))
        if row[-1] == END:
            break
    return row[len(prompt) :]


def said(tokens: Sequence[int]) -> str:
    return "".join(f"{token} " for token in tokens)


class Harbour:
    """A batcher that runs, and the answers that it gives."""

    def __init__(self, model: Counting, limits: Limits) -> None:
        self.tally = Tally()
        self.batcher = Batcher(model, self.tally, limits, [END])
        self.batcher.start()

    async def answer(self, prompt: Sequence[int], sampling: Sampling, *, leave_after: int | None = None) -> str:
        text = ""
        with self.tally.request(len(prompt)) as counted:
            request = Request(prompt, sampling, counted, TextStream(said), asyncio.get_running_loop())
            self.batcher.submit(request)
            pieces = 0
            while pieces != leave_after:
                item = await request.queue.get()
                if isinstance(item, BaseException):
                    raise item
                text += item.text
                pieces += 1
                if item.finish_reason:
                    return text
            request.is_closed = True
            return text


wishes = st.lists(
    st.tuples(
        st.lists(st.integers(0, END - 1), min_size=1, max_size=20),
        st.integers(1, 12),
        st.sampled_from([None, None, 1, 3]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(wishes, st.integers(1, 6), st.integers(1, 24), st.integers(30, 200))
def test_every_answer_is_its_own(wishes: list[Any], rows: int, prompt_tokens: int, room: int) -> None:
    """Whatever the order in which sequences join and leave, how prompts are cut, and who goes away before the end."""
    harbour = Harbour(Counting(), Limits(rows=rows, room_tokens=room, prompt_tokens=prompt_tokens))

    async def all_at_once() -> list[str]:
        return await asyncio.gather(
            *(
                harbour.answer(prompt, Sampling(most, temperature=0), leave_after=leave)
                for prompt, most, leave in wishes
            )
        )

    texts = asyncio.run(asyncio.wait_for(all_at_once(), 60))
    harbour.batcher.stop()
    for text, (prompt, most, leave) in zip(texts, wishes, strict=True):
        whole = [f"{token} " for token in expected(prompt, most) if token != END]
        assert text == "".join(whole) if leave is None else "".join(whole).startswith(text)
    load = harbour.tally.load()
    assert (load.running, load.waiting, load.tokens_in_flight) == (0, 0, 0)


def test_sequences_that_run_share_a_pass() -> None:
    model = Counting()
    harbour = Harbour(model, Limits(rows=8, room_tokens=10_000, prompt_tokens=100))

    async def four() -> None:
        await asyncio.gather(*(harbour.answer([one], Sampling(9, temperature=0, ignore_eos=True)) for one in range(4)))

    asyncio.run(four())
    harbour.batcher.stop()
    assert sum(model.passes) == 4 * 9
    assert len(model.passes) <= 9 + 4  # the first may begin alone


def test_long_prompt_is_read_in_parts() -> None:
    model = Counting()
    harbour = Harbour(model, Limits(rows=8, room_tokens=10_000, prompt_tokens=10))
    asyncio.run(harbour.answer([1] * 35, Sampling(2, temperature=0)))
    harbour.batcher.stop()
    assert model.passes == [10, 10, 10, 5, 1]


def test_error_of_the_model_reaches_all_that_run_and_the_next_begins_anew() -> None:
    harbour = Harbour(Broken(), Limits(rows=8, room_tokens=10_000, prompt_tokens=10))

    async def three() -> list[Any]:
        wish = Sampling(5, temperature=0)
        return await asyncio.gather(*(harbour.answer([1], wish) for _ in range(3)), return_exceptions=True)

    for _ in range(2):
        assert [str(error) for error in asyncio.run(three())] == ["the mast broke"] * 3
    harbour.batcher.stop()
