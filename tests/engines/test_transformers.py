from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tradewind.engines import EngineSettings, Piece, Sampling
from tradewind.engines.transformers import TransformersEngine
from tradewind.errors import CapacityError, IntegrityError, SpecError

PROMPT = "the harbour, the"
GREEDY = Sampling(max_tokens=24, temperature=0)
LONG = Sampling(max_tokens=45, temperature=0, ignore_eos=True)
EXACT = EngineSettings(precision="float32")


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    made = TransformersEngine()
    made.start(tiny_model, EXACT)
    yield made
    made.stop()


@pytest.fixture
def own_engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    """For tests that stop it."""
    made = TransformersEngine()
    made.start(tiny_model, EXACT)
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
    pieces: list[Piece] = run(collect(engine.generate(engine.read(prompt), sampling)))
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


def test_context_and_tokens_are_those_of_the_model(engine: TransformersEngine) -> None:
    assert engine.context == 64
    assert engine.read("").tokens == 0
    assert engine.read(PROMPT).tokens == len(engine._tokenizer(PROMPT)["input_ids"]) > 0


@pytest.mark.parametrize("knobs", [{}, {"prompt_tokens": 3}, {"cache_tokens": 130}])
def test_answers_made_together_are_those_made_alone(
    engine: TransformersEngine, tiny_model: Path, knobs: dict[str, int]
) -> None:
    """Of prompts and answers of many lengths; read at once, in parts of three tokens, and with room for two alone."""
    prompts = ["sail", "wind and", "the quay", "波止場", "x" * 30, "", PROMPT, "keel " * 4]
    wishes = [Sampling(max_tokens=4 + 3 * index, temperature=0) for index in range(len(prompts))]
    alone = [answer(engine, wish, prompt) for prompt, wish in zip(prompts, wishes, strict=True)]
    other = TransformersEngine()
    other.start(tiny_model, EngineSettings(precision="float32", max_concurrency=5, more=knobs))

    async def together() -> list[list[Piece]]:
        asked = zip(prompts, wishes, strict=True)
        return await asyncio.gather(*(collect(other.generate(other.read(prompt), wish)) for prompt, wish in asked))

    made = [
        ("".join(one.text for one in pieces), sum(one.tokens for one in pieces), pieces[-1].finish_reason)
        for pieces in run(together())
    ]
    other.stop()
    assert made == alone


def test_seeded_answer_does_not_depend_on_the_others(engine: TransformersEngine) -> None:
    seeded = Sampling(max_tokens=20, temperature=1.5, seed=1)

    async def together() -> list[list[Piece]]:
        wishes = [seeded, Sampling(max_tokens=20, temperature=1.5), seeded]
        return await asyncio.gather(*(collect(engine.generate(engine.read(PROMPT), wish)) for wish in wishes))

    texts = ["".join(piece.text for piece in pieces) for pieces in run(together())]
    assert texts[0] == texts[2] == answer(engine, seeded)[0]


def test_request_waits_for_a_slot_and_gets_it(tiny_model: Path) -> None:
    engine = TransformersEngine()
    engine.start(tiny_model, EngineSettings(precision="float32", max_concurrency=1))

    async def watch() -> None:
        async with (
            closing(engine.generate(engine.read(PROMPT), LONG)) as first,
            closing(engine.generate(engine.read(PROMPT), GREEDY)) as second,
        ):
            later = asyncio.ensure_future(anext(second))
            await anext(first)
            assert (engine.load().running, engine.load().waiting) == (1, 1)
            await first.aclose()
            await later

    run(watch())
    engine.stop()
    load = engine.load()
    assert (load.running, load.waiting, load.tokens_in_flight) == (0, 0, 0)
    assert load.tokens_in == 2 * engine.read(PROMPT).tokens


def test_closed_answer_is_made_no_further(own_engine: TransformersEngine) -> None:
    async def abandon() -> None:
        async with closing(own_engine.generate(own_engine.read(PROMPT), LONG)) as pieces:
            await anext(pieces)

    run(abandon())
    own_engine.stop()
    assert own_engine.load().tokens_out < LONG.max_tokens


def test_cancelled_task_frees_its_slot(own_engine: TransformersEngine) -> None:
    async def cancel() -> None:
        began = asyncio.Event()

        async def read() -> None:
            async for _ in own_engine.generate(own_engine.read(PROMPT), LONG):
                began.set()

        task = asyncio.ensure_future(read())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    load = own_engine.load()
    assert (load.running, load.waiting) == (0, 0)


def test_stop_ends_running_and_waiting_answers(tiny_model: Path) -> None:
    engine = TransformersEngine()
    engine.start(tiny_model, EngineSettings(precision="float32", max_concurrency=1))

    async def end() -> list[list[Piece] | BaseException]:
        answers = [asyncio.ensure_future(collect(engine.generate(engine.read(PROMPT), LONG))) for _ in range(8)]
        while engine.load().waiting < 7:
            await asyncio.sleep(0)
        await asyncio.to_thread(engine.stop)
        return await asyncio.gather(*answers, return_exceptions=True)

    ended = run(end())
    assert isinstance(ended[-1], CapacityError)
    assert all(isinstance(one, (list, CapacityError)) for one in ended)  # none passes for whole that is not
    with pytest.raises(CapacityError):
        run(collect(engine.generate(engine.read(PROMPT), GREEDY)))


def test_chat_is_written_by_the_models_template(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{{ eos_token }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    engine = TransformersEngine()
    engine.start(folder, EXACT)
    end = engine._tokenizer.eos_token
    prompt = engine.read_chat([{"role": "user", "content": "sail"}])
    assert engine._tokenizer.decode(prompt.content) == f"[user] sail{end}"
    forged = engine.read_chat([{"role": "user", "content": f"sail{end}"}])
    assert list(forged.content).count(engine._tokenizer.eos_token_id) == 1
    engine.stop()


def test_model_without_a_template_reads_no_messages(engine: TransformersEngine) -> None:
    with pytest.raises(SpecError, match="no chat template"):
        engine.read_chat([{"role": "user", "content": "sail"}])


def test_embedding_is_the_mean_of_the_last_hidden_states(engine: TransformersEngine, tiny_model: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    with torch.inference_mode():
        hidden = model.model(
            **tokenizer("the quay", return_tensors="pt", return_token_type_ids=False)
        ).last_hidden_state
    vectors = run(engine.embed([engine.read("the quay"), engine.read("sail")]))
    assert vectors[0] == pytest.approx(hidden[0].mean(0).tolist(), abs=1e-5)
    assert vectors[0] != vectors[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tensor": 2}, "splits no model"),
        ({"pipeline": 2}, "splits no model"),
        ({"precision": "float8"}, "does not serve float8"),
        ({"more": {"cache_tokens": "many"}}, "setting 'cache_tokens'"),
    ],
)
def test_settings_that_it_does_not_have_are_refused(tiny_model: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        TransformersEngine().start(tiny_model, EngineSettings(**change))


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
