"""Runs that lose workers at random moments go on as if nothing had happened: same data, same losses, no rubbish."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.samples import VOCABULARY, dataset_spec, write_text
from tests.training.recovery.drill import DONE, FAILED, PREEMPTED, Drill, Fate, plan
from tradewind.datasets import Datasets
from tradewind.families import family
from tradewind.records import CheckpointRecord, StepMetrics
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training.job import Job
from tradewind.training.run import RunFiles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 12
SIZES = (4, 2, 3, 1)
"""Of groups that follow each other, in a circle: each run begins somewhere in it, and comes back to where it began."""
RESIZED, SAME = range(24), range(24, 32)
"""Seeds of runs whose groups have changing sizes, and of runs with two workers always."""


@dataclass(frozen=True)
class Undisturbed:
    job: Job
    took_s: float
    rows: list[StepMetrics]
    last: CheckpointRecord


def job(store: Store, run: str) -> Job:
    spec = TrainSpec.of(
        name="pilot",
        dataset="logbook@1",
        model={"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2},
        batch={"sequences": 12, "tokens_per_sequence": 16},
        optimizer={"learning_rate": 0.02, "warmup_steps": 2},
        max_steps=STEPS,
        checkpoint_every_s="1ms",
        workers=4,
        min_workers=1,
    )
    shape = family("llama").shape(spec.model, vocabulary=VOCABULARY, context=spec.batch.tokens_per_sequence)
    return Job(run=run, spec=spec, shape=shape, datasets={"logbook@1": 1.0}, store=store)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("drills")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=16, words=150)))
    drill = Drill(job(store, "undisturbed"), folder)
    drill.group(2)  # the first group also waits for everything to be loaded
    drill = Drill(job(store, "undisturbed-again"), folder)
    began = time.monotonic()
    assert drill.group(2) == [DONE, DONE]
    took_s = time.monotonic() - began
    return Undisturbed(drill.job, took_s, drill.files.metrics(), drill.files.checkpoints()[-1])


def disturbed(undisturbed: Undisturbed, folder: Path, run: str, worlds: list[int], fates: list[Fate]) -> RunFiles:
    drill = Drill(replace(undisturbed.job, run=run), folder)
    codes = drill.through(worlds, fates)
    assert codes[-1] == [DONE] * worlds[-1]
    for fate, group in zip(fates, codes, strict=False):
        assert FAILED not in group or -SIGKILL in group, "ranks fail when they lose one, and else never"
        if fate.blow == "notice":
            assert set(group) in ({PREEMPTED}, {DONE}), "all ranks leave together, or the run had ended before"
    return drill.files


def facts(row: StepMetrics) -> tuple[Any, ...]:
    return row.step, row.tokens, row.loss, row.grad_norm, row.learning_rate


def check_nothing_was_lost_or_read_twice(files: RunFiles, undisturbed: Undisturbed) -> None:
    rows, last = files.metrics(), files.checkpoints()[-1]
    assert [row.step for row in rows] == list(range(1, STEPS + 1))
    assert (last.step, last.tokens) == (STEPS, undisturbed.last.tokens)
    assert last.certificate == undisturbed.last.certificate


def check_no_rubbish(files: RunFiles) -> None:
    records = files.checkpoints()
    named = {file.key for record in records for file in record.files}
    stored = {item.key for item in files.store.list(files.key("checkpoints"))}
    assert {key for key in stored if not key.endswith(".json")} == named
    folder = files.store.local_path(files.key("checkpoints"))
    assert folder is not None
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {key.split("/")[-2] for key in named}


@pytest.mark.parametrize("seed", RESIZED)
def test_run_that_is_killed_and_resized_reads_the_same_and_learns_the_same(
    undisturbed: Undisturbed, tmp_path: Path, seed: int
) -> None:
    worlds = [SIZES[(seed + turn) % len(SIZES)] for turn in range(len(SIZES) + 1)]
    fates = plan(seed, worlds=worlds, moments_s=undisturbed.took_s)
    files = disturbed(undisturbed, tmp_path, f"resized-{seed}", worlds, fates)
    check_nothing_was_lost_or_read_twice(files, undisturbed)
    check_no_rubbish(files)
    losses = [row.loss for row in files.metrics()]
    assert losses == pytest.approx([row.loss for row in undisturbed.rows], rel=1e-3)


@pytest.mark.parametrize("seed", SAME)
def test_run_that_keeps_its_size_gives_the_same_bits(undisturbed: Undisturbed, tmp_path: Path, seed: int) -> None:
    worlds = [2, 2, 2, 2]
    fates = plan(seed, worlds=worlds, moments_s=undisturbed.took_s)
    files = disturbed(undisturbed, tmp_path, f"same-{seed}", worlds, fates)
    check_nothing_was_lost_or_read_twice(files, undisturbed)
    check_no_rubbish(files)
    assert [facts(row) for row in files.metrics()] == [facts(row) for row in undisturbed.rows]


def test_warned_workers_leave_behind_a_checkpoint_of_their_last_step(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Checkpoints are otherwise rare here, so what is there was made for the notice."""
    rare = undisturbed.job.spec.with_values(checkpoint_every_s="1h", max_steps=100_000)
    drill = Drill(replace(undisturbed.job, run="warned", spec=rare), tmp_path)
    assert drill.group(2, Fate("notice", rank=1, at=1.0)) == [PREEMPTED, PREEMPTED]
    rows, checkpoints = drill.files.metrics(), drill.files.checkpoints()
    assert [one.step for one in checkpoints] == [rows[-1].step]
