from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tradewind.engines import Piece, Sampling
from tradewind.engines.transformers import TransformersEngine, choose
from tradewind.errors import CapacityError, IntegrityError

PROMPT = "the harbour, the"
GREEDY = Sampling(max_tokens=24, temperature=0)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    made = TransformersEngine()
    made.start(tiny_model)
    yield made
    made.stop()


@pytest.fixture
def own_engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    """For tests that stop it."""
    made = TransformersEngine()
    made.start(tiny_model)
    yield made
    made.stop()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, timeout=30))


async def collect(pieces: AsyncIterator[Piece]) -> list[Piece]:
    return [piece async for piece in pieces]


def closing(pieces: AsyncIterator[Piece]) -> aclosing[Any]:
    """Closes the answer at the end of a block."""
    made: Any = pieces
    return aclosing(made)


def answer(engine: TransformersEngine, sampling: Sampling, prompt: str = PROMPT) -> tuple[str, int, str | None]:
    """Text, tokens and the reason of the end."""
    pieces: list[Piece] = run(collect(engine.generate(prompt, sampling)))
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    return "".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces), pieces[-1].finish_reason


@pytest.mark.parametrize("prompt", [PROMPT, "a", "wind 波止場\n", "x" * 30])
def test_greedy_answer_is_that_of_transformers_itself(
    engine: TransformersEngine, tiny_model: Path, prompt: str
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            max_new_tokens=24,
            pad_token_id=tokenizer.eos_token_id,
        )[0, inputs["input_ids"].shape[1] :]
    text, count, reason = answer(engine, GREEDY, prompt)
    assert text == tokenizer.decode(tokens, skip_special_tokens=True)
    assert count == len(tokens)
    assert reason == ("stop" if tokens[-1] == tokenizer.eos_token_id else "length")


def test_temperature_0_gives_the_same_answer_again(engine: TransformersEngine) -> None:
    assert answer(engine, GREEDY) == answer(engine, GREEDY)


def test_seed_decides_the_answer(engine: TransformersEngine) -> None:
    seeded = [answer(engine, Sampling(max_tokens=20, temperature=1.5, seed=seed)) for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1]
    assert seeded[0] != seeded[2]


def test_without_a_seed_answers_differ(engine: TransformersEngine) -> None:
    assert len({answer(engine, Sampling(max_tokens=30, temperature=2.0)) for _ in range(5)}) > 1


def test_stop_text_ends_the_answer_and_stays_out(engine: TransformersEngine) -> None:
    whole, count, _ = answer(engine, GREEDY)
    stop = whole[len(whole) // 2 :][:3]
    text, tokens, reason = answer(engine, Sampling(max_tokens=24, temperature=0, stop=(stop, "never said")))
    assert text == whole[: whole.find(stop)]
    assert reason == "stop"
    assert 0 < tokens < count


@pytest.mark.parametrize("length", range(1, 9))
def test_answer_has_no_more_tokens_than_were_asked_for(engine: TransformersEngine, length: int) -> None:
    whole, _, _ = answer(engine, GREEDY)
    text, tokens, _ = answer(engine, Sampling(max_tokens=length, temperature=0))
    assert tokens <= length
    assert whole.startswith(text.rstrip("\ufffd"))


def test_empty_prompt_is_answered(engine: TransformersEngine) -> None:
    assert answer(engine, GREEDY, "")[1] > 0


def test_end_of_text_ends_the_answer(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    end = engine._tokenizer.eos_token_id
    ids = [*engine._tokenizer("wind")["input_ids"], end, *engine._tokenizer("never said")["input_ids"]]
    monkeypatch.setattr(engine, "_tokens", lambda *_: iter(ids))
    assert answer(engine, GREEDY) == ("wind", ids.index(end) + 1, "stop")


def test_stop_text_in_the_last_token_is_a_stop(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last token also begins a character that never ends, so that the text is only looked at at the very end."""
    tokenizer = engine._tokenizer
    monkeypatch.setattr(engine, "_tokens", lambda *_: iter([1, 2]))
    monkeypatch.setattr(engine, "_tokenizer", FixedTokenizer(tokenizer, {(1,): "one", (1, 2): "one END\ufffd"}))
    assert answer(engine, Sampling(max_tokens=2, stop=(" END",))) == ("one", 2, "stop")


class FixedTokenizer:
    def __init__(self, real: Any, texts: dict[tuple[int, ...], str]) -> None:
        self.real, self.texts = real, texts
        self.eos_token_id = real.eos_token_id

    def __call__(self, prompt: str) -> Any:
        return self.real(prompt)

    def decode(self, ids: list[int], **_: Any) -> str:
        return self.texts[tuple(ids)]


def test_context_and_count_are_those_of_the_model(engine: TransformersEngine) -> None:
    assert engine.context == 64
    assert engine.count("") == 0
    assert engine.count(PROMPT) == len(engine._tokenizer(PROMPT)["input_ids"]) > 0


def test_stats_count_tokens_and_requests(own_engine: TransformersEngine) -> None:
    async def watch() -> None:
        stats = own_engine.stats()
        assert (stats.running, stats.waiting, stats.tokens_in, stats.tokens_out) == (0, 0, 0, 0)
        async with (
            closing(own_engine.generate(PROMPT, Sampling(max_tokens=40, temperature=0))) as first,
            closing(own_engine.generate(PROMPT, GREEDY)) as second,
        ):
            later = asyncio.ensure_future(anext(second))
            await anext(first)
            assert (own_engine.stats().running, own_engine.stats().waiting) == (1, 1)
            later.cancel()
            rest = [piece async for piece in first]
            assert rest[-1].finish_reason is not None

    run(watch())
    own_engine.stop()  # waits for the thread
    stats = own_engine.stats()
    assert (stats.running, stats.waiting) == (0, 0)
    assert stats.tokens_in == 2 * own_engine.count(PROMPT)
    assert stats.tokens_out > 0


def test_closed_answer_frees_the_thread_for_the_next(
    own_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: Counter[str] = Counter()
    endless = endless_tokens(steps)
    monkeypatch.setattr(own_engine, "_tokens", endless)

    async def abandon() -> list[Piece]:
        async with closing(own_engine.generate("first", GREEDY)) as pieces:
            await anext(pieces)
        monkeypatch.undo()
        return await collect(own_engine.generate(PROMPT, Sampling(max_tokens=3, temperature=0)))

    assert run(abandon())[-1].finish_reason is not None
    own_engine.stop()
    assert own_engine.stats().running == own_engine.stats().waiting == 0


def endless_tokens(steps: Counter[str]) -> Callable[..., Iterator[int]]:
    """Tokens without end until the answer is cancelled: what a very long answer looks like."""

    def tokens(prompt: str, sampling: Sampling, cancelled: Any) -> Iterator[int]:
        while not cancelled.is_set():
            steps[prompt] += 1
            yield 70 + steps[prompt] % 9

    return tokens


def test_cancelled_task_frees_the_thread(own_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_engine, "_tokens", endless_tokens(Counter()))

    async def cancel() -> None:
        began = asyncio.Event()

        async def read() -> None:
            async for _ in own_engine.generate("first", GREEDY):
                began.set()

        task = asyncio.ensure_future(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while own_engine.stats().running:
            await asyncio.sleep(0.01)

    run(cancel())
    assert own_engine.stats().waiting == 0


def test_request_that_waited_and_was_closed_is_never_begun(
    own_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: Counter[str] = Counter()
    monkeypatch.setattr(own_engine, "_tokens", endless_tokens(steps))

    async def race() -> None:
        async with closing(own_engine.generate("first", GREEDY)) as first:
            await anext(first)
            waiting = asyncio.ensure_future(anext(own_engine.generate("second", GREEDY)))
            while own_engine.stats().waiting == 0:
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(race())
    own_engine.stop()
    assert set(steps) == {"first"}


def test_stop_ends_running_and_waiting_answers(own_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_engine, "_tokens", endless_tokens(Counter()))

    async def end() -> list[list[Piece] | BaseException]:
        answers = [asyncio.ensure_future(collect(own_engine.generate(name, GREEDY))) for name in ("first", "second")]
        while not (own_engine.stats().running and own_engine.stats().waiting):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own_engine.stop)
        return await asyncio.gather(*answers, return_exceptions=True)

    for answer in run(end()):  # neither passes for an answer that is whole
        assert isinstance(answer, CapacityError)


def test_error_of_the_model_reaches_the_request(
    own_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Iterator[int]:
        yield 70
        raise RuntimeError("the model broke")

    monkeypatch.setattr(own_engine, "_tokens", broken)
    with pytest.raises(RuntimeError, match="the model broke"):
        run(collect(own_engine.generate(PROMPT, GREEDY)))
    own_engine.stop()
    assert own_engine.stats().running == own_engine.stats().waiting == 0


class TestDamage:
    @pytest.fixture
    def folder(self, tiny_model: Path, tmp_path: Path) -> Path:
        return shutil.copytree(tiny_model, tmp_path / "model")

    def refuses(self, folder: Path) -> None:
        engine = TransformersEngine()
        with pytest.raises(IntegrityError, match="transformers cannot load the model") as caught:
            engine.start(folder)
        engine.stop()
        assert caught.value.hint is not None
        assert len(caught.value.message) < 1000

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
    @pytest.mark.parametrize("length", [0, 10, 400])
    def test_truncated_file_is_refused(self, folder: Path, name: str, length: int) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:length])
        self.refuses(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
    def test_missing_file_is_refused(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        if name == "tokenizer.json":
            (folder / "tokenizer_config.json").unlink()
        self.refuses(folder)

    def test_weights_of_another_shape_are_refused(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
        self.refuses(folder)

    def test_missing_weights_are_refused_and_not_made_up(self, folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        self.refuses(folder)

    def test_unknown_kind_of_model_is_refused(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "schooner"}))
        self.refuses(folder)

    def test_empty_folder_is_refused(self, tmp_path: Path) -> None:
        self.refuses(tmp_path)


class TestChoose:
    LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0])

    def draws(self, sampling: Sampling, count: int = 3000) -> list[float]:
        generator = torch.Generator().manual_seed(4)
        seen = Counter(choose(self.LOGITS, sampling, generator) for _ in range(count))
        return [seen[token] / count for token in range(4)]

    def test_temperature_0_takes_the_likeliest(self) -> None:
        assert self.draws(Sampling(1, temperature=0), 50) == [0, 1, 0, 0]

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_draws_follow_the_tempered_chances(self, temperature: float) -> None:
        expected = torch.softmax(self.LOGITS / temperature, 0).tolist()
        assert self.draws(Sampling(1, temperature=temperature)) == pytest.approx(expected, abs=0.04)

    @pytest.mark.parametrize("temperature", [1e-3, 1e-40, 1e-310])
    def test_tiny_temperatures_are_as_good_as_0(self, temperature: float) -> None:
        assert self.draws(Sampling(1, temperature=temperature), 50) == [0, 1, 0, 0]

    def test_top_p_draws_from_the_smallest_set_with_that_weight(self) -> None:
        """The chances are 0.09, 0.66, 0.24 and 0.01."""
        assert self.draws(Sampling(1, top_p=0.6), 50) == [0, 1, 0, 0]
        assert self.draws(Sampling(1, top_p=0.7)) == pytest.approx([0, 0.731, 0.269, 0], abs=0.04)
        assert self.draws(Sampling(1, top_p=0.95))[3] == 0
        assert self.draws(Sampling(1, top_p=1.0))[3] > 0

    def test_smallest_top_p_leaves_the_likeliest(self) -> None:
        assert self.draws(Sampling(1, top_p=1e-9), 50) == [0, 1, 0, 0]

    def test_same_generator_draws_the_same(self) -> None:
        assert self.draws(Sampling(1), 50) == self.draws(Sampling(1), 50)

    def test_logits_are_left_as_they_were(self) -> None:
        before = self.LOGITS.clone()
        choose(self.LOGITS, Sampling(1, top_p=0.5), torch.Generator())
        assert torch.equal(before, self.LOGITS)
