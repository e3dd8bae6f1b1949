"""The training loop on real ranks, without Ray."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.samples import VOCABULARY, dataset_spec, write_text
from tests.training.conftest import Ranks
from tradewind.datasets import Batches, Certificate, Datasets, Reader, Samples
from tradewind.errors import RunError
from tradewind.families import family
from tradewind.records import StepMetrics
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import checkpoint, hugging_face_files
from tradewind.training.checkpoint import TrainingState
from tradewind.training.clock import Progress
from tradewind.training.data import open_data
from tradewind.training.job import Job
from tradewind.training.model import Decoder
from tradewind.training.rank import Rank
from tradewind.training.run import RunFiles
from tradewind.training.worker import finished, share_done, train

STEPS = 8
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("worker")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=16, words=150)))
    return store


def wish(**changes: Any) -> TrainSpec:
    return TrainSpec.of(
        name="pilot",
        dataset="logbook@1",
        model={"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2},
        batch={"sequences": 5, "tokens_per_sequence": 16},
        optimizer={"learning_rate": 0.02, "warmup_steps": 2},
        max_steps=STEPS,
        checkpoint_every_s="1ms",
        keep_checkpoints=99,
    ).with_values(**changes)


def job(store: Store, run: str, **changes: Any) -> Job:
    spec = wish(**changes)
    shape = family("llama").shape(spec.model, vocabulary=VOCABULARY, context=spec.batch.tokens_per_sequence)
    return Job(run=run, spec=spec, shape=shape, datasets={"logbook@1": 1.0}, store=store)


def went(made: Job) -> list[tuple[int, float, float, float, float | None]]:
    """What must be equal of two runs that did the same, step by step."""
    rows = RunFiles(made.store, made.run).metrics()
    return [(row.step, row.loss, row.learning_rate, row.grad_norm, row.heldout_loss) for row in rows]


@pytest.fixture(scope="module")
def undisturbed(ranks: Ranks, store: Store) -> Job:
    """A run of two ranks that nothing happened to, with a checkpoint after each step."""
    made = job(store, "undisturbed")
    ranks.run(train, made, world=2)
    return made


def cross_entropy(model: Decoder, rows: torch.Tensor) -> float:
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()


def metrics(made: Job) -> list[StepMetrics]:
    return RunFiles(made.store, made.run).metrics()


def weights(made: Job, step: int) -> dict[str, torch.Tensor]:
    record = next(one for one in RunFiles(made.store, made.run).checkpoints() if one.step == step)
    state = TrainingState([Decoder(made.shape)], []).weights()
    checkpoint.load(made.store, record, {"model": state}, alone=True)
    return state


def test_loss_falls(undisturbed: Job) -> None:
    losses = [row.loss for row in metrics(undisturbed)]
    assert losses[0] == pytest.approx(math.log(VOCABULARY), rel=0.05)
    assert losses[-1] < losses[0] - 0.5


def test_each_step_is_told_with_its_tokens_and_time(undisturbed: Job) -> None:
    rows = metrics(undisturbed)
    assert [row.step for row in rows] == list(range(1, STEPS + 1))
    assert [row.tokens for row in rows] == [row.step * 5 * 16 for row in rows]
    assert len({row.attempt for row in rows}) == 1
    seconds = [row.seconds for row in rows]
    assert seconds == sorted(seconds)
    assert rows[0].seconds > 0
    assert all(row.cpu_seconds > 0 for row in rows)
    assert all(row.grad_norm > 0 for row in rows)


def test_every_checkpoint_is_complete(undisturbed: Job) -> None:
    records = RunFiles(undisturbed.store, undisturbed.run).checkpoints()
    assert [record.step for record in records] == list(range(1, STEPS + 1))
    for record, row in zip(records, metrics(undisturbed), strict=True):
        assert (record.tokens, record.loss, record.heldout_loss) == (row.tokens, row.loss, row.heldout_loss)
        assert record.parents == ("run:undisturbed",)
        assert weights(undisturbed, record.step).keys() == dict(Decoder(undisturbed.shape).named_parameters()).keys()


def test_heldout_loss_is_that_of_the_checkpoints_weights(undisturbed: Job) -> None:
    model = Decoder(undisturbed.shape)
    model.load_state_dict(weights(undisturbed, STEPS), strict=False)
    dataset = Datasets(undisturbed.store).get("logbook@1")
    heldout = Samples(dataset, "heldout", width=17)
    rows = torch.from_numpy(heldout.read(range(heldout.size))).to(torch.int64)
    with torch.inference_mode():
        loss = cross_entropy(model, rows) / rows[:, 1:].numel()
    assert metrics(undisturbed)[-1].heldout_loss == pytest.approx(loss, abs=1e-5)


def test_first_loss_is_that_of_the_first_batch_and_the_first_weights(undisturbed: Job) -> None:
    model = Decoder(undisturbed.shape)
    model.initialize(undisturbed.spec.seed)
    dataset = Datasets(undisturbed.store).get("logbook@1")
    batch = next(iter(Reader(Batches(Samples(dataset, "train", width=17), sequences=5, seed=0))))
    with torch.inference_mode():
        loss = cross_entropy(model, torch.from_numpy(batch.tokens).to(torch.int64)) / (5 * 16)
    assert metrics(undisturbed)[0].loss == pytest.approx(loss, abs=1e-5)


def lose(made: Job, *, after: int) -> None:
    """Leave of a run what a crash in the step after one would leave."""
    files = RunFiles(made.store, made.run)
    for item in list(made.store.list(files.key("checkpoints"))):
        if item.key.endswith(".json") and int(item.key.rpartition("/")[2].removesuffix(".json")) > after:
            made.store.delete(item.key)


def copy_run(source: Job, run: str) -> Job:
    """The same run under another name: its records name its files."""
    for item in list(source.store.list(f"runs/{source.run}")):
        data = source.store.get(item.key)
        if item.key.endswith(".json"):
            data = data.replace(f"runs/{source.run}/".encode(), f"runs/{run}/".encode())
        source.store.put(item.key.replace(f"runs/{source.run}/", f"runs/{run}/"), data)
    return Job(run=run, spec=source.spec, shape=source.shape, datasets=source.datasets, store=source.store)


@pytest.mark.parametrize("after", [1, 5])
def test_run_that_was_cut_goes_on_as_if_nothing_had_happened(ranks: Ranks, undisturbed: Job, after: int) -> None:
    made = copy_run(undisturbed, f"cut-{after}")
    lose(made, after=after)
    ranks.run(train, made, world=2)
    assert went(made) == went(undisturbed)
    rows = metrics(made)
    attempts = [row.attempt for row in rows]
    assert len(set(attempts[:after])) == len(set(attempts[after:])) == 1
    assert attempts[0] != attempts[-1]
    before, last = weights(undisturbed, STEPS), weights(made, STEPS)
    assert all(torch.equal(before[name], last[name]) for name in before)


def test_time_goes_on_counting_where_the_checkpoint_had_it(ranks: Ranks, undisturbed: Job) -> None:
    made = copy_run(undisturbed, "timed")
    lose(made, after=5)
    record = RunFiles(made.store, made.run).checkpoints()[-1]
    before = RunFiles(made.store, made.run)
    later = record.model_copy(update={"seconds": 1000.0, "cpu_seconds": 2000.0})
    made.store.put(before.key("checkpoints/000000005.json"), later.to_json())
    ranks.run(train, made, world=2)
    rows = metrics(made)[5:]
    assert all(1000 < row.seconds < 1100 for row in rows)
    assert all(2000 < row.cpu_seconds < 2100 for row in rows)
    assert all(row.tokens_per_s < 1e6 for row in rows)


def test_run_that_was_done_makes_no_more_steps(ranks: Ranks, undisturbed: Job) -> None:
    made = copy_run(undisturbed, "done")
    before = {item.key for item in made.store.list("runs/done")}
    ranks.run(train, made, world=2)
    assert {item.key for item in made.store.list("runs/done")} == before


@pytest.mark.parametrize("after", [0, 5])
def test_number_of_ranks_changes_nothing_but_rounding(ranks: Ranks, undisturbed: Job, after: int) -> None:
    """From the beginning, and from a checkpoint that twice as many ranks have written."""
    made = copy_run(undisturbed, f"alone-{after}")
    lose(made, after=after)
    ranks.run(train, made, world=1)
    for one, other in zip(went(made), went(undisturbed), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_damaged_checkpoint_is_refused_for_the_one_before(ranks: Ranks, undisturbed: Job) -> None:
    made = copy_run(undisturbed, "damaged")
    lose(made, after=5)
    record = RunFiles(made.store, made.run).checkpoints()[-1]
    made.store.put(record.files[-1].key, b"")
    ranks.run(train, made, world=2)
    assert went(made) == went(undisturbed)
    attempts = [row.attempt for row in metrics(made)]
    assert len(set(attempts[:4])) == len(set(attempts[4:])) == 1


def test_checkpoint_without_its_record_does_not_count(ranks: Ranks, undisturbed: Job) -> None:
    made = copy_run(undisturbed, "no-record")
    lose(made, after=0)
    assert RunFiles(made.store, made.run).checkpoints() == []
    assert any(item.key.endswith(".distcp") for item in made.store.list("runs/no-record/checkpoints"))
    ranks.run(train, made, world=2)
    assert went(made) == went(undisturbed)


def test_seed_changes_the_run(ranks: Ranks, store: Store, undisturbed: Job) -> None:
    made = job(store, "seeded", seed=1, max_steps=2)
    ranks.run(train, made, world=2)
    assert [row.loss for row in metrics(made)] != [row.loss for row in metrics(undisturbed)][:2]


def test_blocks_that_are_gathered_by_themselves_give_the_same_losses(
    ranks: Ranks, store: Store, undisturbed: Job
) -> None:
    made = job(store, "gathered")
    ranks.run(train_with_small_groups, made, world=2)
    for one, other in zip(went(made), went(undisturbed), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def train_with_small_groups(made: Job) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewind.training.parallel.sharding.SMALLEST_GROUP", 1)
        train(made)


def test_time_limit_ends_a_run(ranks: Ranks, store: Store) -> None:
    made = job(store, "timed-out", max_steps=100_000, max_time_s=1.5, checkpoint_every_s=60)
    ranks.run(train, made, world=2)
    rows = metrics(made)
    assert rows[-1].seconds >= 1.5
    assert rows[-2].seconds < 1.5
    assert [row.step for row in rows if row.heldout_loss is not None] == [len(rows)]
    assert rows[-1].learning_rate < rows[len(rows) // 2].learning_rate


def test_evaluation_counts_every_sample_once_however_many_ranks(ranks: Ranks, store: Store) -> None:
    made = job(store, "evaluated")
    for sequences in (1, 2, 5, 64):
        alone, together = (ranks.run(heldout_loss, made, sequences, world=world)[0] for world in (1, 2))
        assert together == pytest.approx(alone, abs=1e-5)


def heldout_loss(made: Job, sequences: int) -> float:
    other = replace(
        made, run=f"evaluated-{sequences}", spec=made.spec.with_values(batch__sequences=sequences, workers=1)
    )
    data = open_data(made.store, other.spec, made.datasets)
    rank = Rank.of(other, data)
    rank.resume(data.batches)
    return rank.heldout_loss(data)


def test_exported_checkpoint_gives_the_same_logits_in_transformers(undisturbed: Job, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dataset = Datasets(undisturbed.store).get("logbook@1")
    record = RunFiles(undisturbed.store, undisturbed.run).checkpoints()[-1]
    files = hugging_face_files(undisturbed.store, record, undisturbed.shape, dataset, card="# pilot", folder=tmp_path)
    for name, data in files.items():
        if isinstance(data, bytes):  # the weights are there already
            (tmp_path / name).write_bytes(data)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    theirs, loading = loaded
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ours = Decoder(undisturbed.shape)
    ours.load_state_dict(weights(undisturbed, STEPS), strict=False)
    tokens = torch.arange(16).reshape(1, 16) * 7
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens), theirs(input_ids=tokens).logits, atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "the harbour, the quay\n  and 波止場"
    assert tokenizer(text)["input_ids"] == dataset.tokenizer().encode(text).ids
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token_id == theirs.config.eos_token_id == dataset.tokenizer().token_to_id("<|endoftext|>")
    assert json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"] == 16


def test_loss_that_jumps_takes_the_weights_back_and_the_data_on(ranks: Ranks, store: Store) -> None:
    """At this rate the loss jumps soon; the guard is told to take any rise for a jump."""
    guard = {"spike": 0.5, "window": 8, "rollbacks": 99}
    wild = {"optimizer__learning_rate": 3.0, "optimizer__schedule": "constant", "optimizer__clip_norm": 100.0}
    made = job(store, "wild", guard=guard, max_steps=60, **wild)
    ranks.run(train, made, world=2)
    files = RunFiles(made.store, made.run)
    found = files.rollbacks()
    assert found
    assert all(one.to_step < one.step and "deviations above" in one.reason for one in found)
    last = files.checkpoints()[-1]
    dataset = Datasets(store).get("logbook@1")
    batches = Batches(Samples(dataset, "train", width=17), sequences=5, seed=0)
    assert Certificate.from_bytes(bytes.fromhex(last.certificate), batches).samples == last.step * 5


def test_loss_that_is_no_number_from_the_first_step_ends_the_run_with_the_step(ranks: Ranks, store: Store) -> None:
    made = job(store, "nan", optimizer__z_loss=1e38)
    with pytest.raises(
        RunError, match=r"(the loss is|the norm of the gradient is) (nan|inf) at step 1, and there is no"
    ):
        ranks.run(train, made, world=2)
    assert RunFiles(made.store, made.run).checkpoints() == []


def test_jumps_end_a_run_when_they_do_not_stop(ranks: Ranks, store: Store) -> None:
    guard = {"spike": 1e-3, "window": 8, "rollbacks": 0}
    made = job(store, "hopeless", guard=guard, max_steps=60, optimizer__learning_rate=3.0, optimizer__clip_norm=100.0)
    with pytest.raises(RunError, match="deviations above its mean"):
        ranks.run(train, made, world=2)


def test_whichever_is_used_up_first_decides() -> None:
    spec = wish(max_steps=100, max_time_s=10)
    assert share_done(spec, Progress(step=50, seconds=1)) == pytest.approx(0.5)
    assert share_done(spec, Progress(step=10, seconds=8)) == pytest.approx(0.8)
    assert not finished(spec, Progress(step=99, seconds=9.99))
    assert finished(spec, Progress(step=100, seconds=1))
    assert finished(spec, Progress(step=1, seconds=10))
