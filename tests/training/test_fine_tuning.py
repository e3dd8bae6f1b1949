"""From a trained model and conversations to a model with adapters merged in, on real ranks."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.samples import VOCABULARY, dataset_spec, write_text
from tests.training.conftest import Ranks
from tradewind.datasets import Dataset, Datasets
from tradewind.errors import SpecError
from tradewind.families import shape_of
from tradewind.records import CheckpointRecord
from tradewind.specs import DatasetSpec, TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import hugging_face_files
from tradewind.training.job import Job
from tradewind.training.origin import check_origin
from tradewind.training.run import RunFiles
from tradewind.training.worker import train

MODEL = {"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2}
CONTEXT = 48
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("fine-tuning")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=16, words=150)))
    turns = [
        [{"role": "user", "content": f"the quay {number}"}, {"role": "assistant", "content": f"harbour {number}"}]
        for number in range(40)
    ]
    (folder / "chat.jsonl").write_text("\n".join(json.dumps({"messages": each}) for each in turns))
    chat = {"files": [str(folder / "chat.jsonl")], "context": CONTEXT}
    Datasets(store).add(DatasetSpec.of(name="talk", chat=chat, tokenizer={"from": "logbook@1"}, heldout_fraction=0.1))
    return store


def job(store: Store, run: str, dataset: str, **wishes: Any) -> Job:
    spec = TrainSpec.of(
        name="pilot",
        dataset=dataset,
        model=MODEL,
        batch={"sequences": 6, "tokens_per_sequence": CONTEXT},
        checkpoint_every_s=60,
        **wishes,
    )
    shape = shape_of(spec.model, vocabulary=VOCABULARY, context=CONTEXT)
    return Job(run=run, spec=spec, shape=shape, datasets={dataset: 1.0}, store=store)


def export(made: Job, folder: Path) -> Path:
    record = newest(made)
    dataset = Datasets(made.store).get(made.spec.dataset)
    folder.mkdir()
    files = hugging_face_files(
        made.store, record, made.shape, dataset, card="# pilot", folder=folder, lora=made.spec.lora
    )
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
    return folder


def newest(made: Job) -> CheckpointRecord:
    return RunFiles(made.store, made.run).checkpoints()[-1]


@pytest.fixture(scope="module")
def base(ranks: Ranks, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = job(store, "base", "logbook@1", max_steps=3)
    ranks.run(train, made, world=2)
    return export(made, tmp_path_factory.mktemp("base") / "model")


def test_adapters_learn_answers_and_leave_in_the_weights(
    ranks: Ranks, store: Store, base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wish = {"start_from": str(base), "lora": {"rank": 4}, "optimizer": {"learning_rate": 0.02, "warmup_steps": 2}}
    made = job(store, "tuned", "talk@1", max_steps=12, **wish)
    ranks.run(train, made, world=2)
    losses = [row.loss for row in RunFiles(store, made.run).metrics()]
    assert losses[-1] < losses[0] - 0.2
    folder = export(made, tmp_path / "tuned")
    before, after = (AutoModelForCausalLM.from_pretrained(each, dtype=torch.float32) for each in (base, folder))
    moved = {name: not torch.equal(weight, after.state_dict()[name]) for name, weight in before.state_dict().items()}
    assert all(is_moved == ("proj" in name) for name, is_moved in moved.items())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = tokenizer.apply_chat_template([{"role": "user", "content": "the quay 3"}], tokenize=False)
    assert "the quay 3" in said


def test_weights_that_a_run_starts_from_are_its_first(ranks: Ranks, store: Store, base: Path) -> None:
    """The same first loss as transformers' on the same batch: of the tokens that are trained on alone."""
    from transformers import AutoModelForCausalLM

    from tradewind.datasets import Reader
    from tradewind.training.batch import Passes
    from tradewind.training.data import open_data

    made = job(store, "whole", "talk@1", max_steps=1, start_from=str(base))
    ranks.run(train, made, world=2)
    data = open_data(store, made.spec, made.datasets)
    batch = next(iter(Reader(data.batches)))
    one = Passes(torch.device("cpu"), conversations=True).one(batch.tokens)
    theirs = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    logits = [_alone(theirs, row, ends) for row, ends in zip(one.tokens, _ends(batch.tokens), strict=True)]
    loss = torch.nn.functional.cross_entropy(torch.stack(logits).flatten(0, 1), one.targets.flatten())
    assert RunFiles(store, made.run).metrics()[0].loss == pytest.approx(loss.item(), abs=1e-4)


def _ends(tokens: Any) -> list[list[int]]:
    """Where conversations of each row end."""
    from tradewind.datasets.chat import END_BIT

    return [[place + 1 for place in range(CONTEXT) if int(row[place]) & END_BIT] for row in tokens]


def _alone(model: Any, row: torch.Tensor, ends: list[int]) -> torch.Tensor:
    """Logits of a row, each of its conversations by itself."""
    bounds = [0, *ends, CONTEXT]
    parts = [row[first:last] for first, last in itertools.pairwise(bounds) if first < last]
    with torch.inference_mode():
        return torch.cat([model(input_ids=part[None]).logits[0] for part in parts])


def dataset(store: Store) -> Dataset:
    return Datasets(store).get("talk@1")


def test_model_of_other_sizes_is_refused_with_both(store: Store, base: Path) -> None:
    wider = replace(job(store, "wider", "talk@1").shape, hidden=64)
    with pytest.raises(SpecError, match="hidden 32 instead of 64"):
        check_origin(store, str(base), wider, dataset(store))


def test_model_of_another_tokenizer_is_refused(store: Store, base: Path, tmp_path: Path) -> None:
    other = Datasets(store).add(
        dataset_spec(write_text(tmp_path / "other", documents=9, words=90)).with_values(name="other")
    )
    with pytest.raises(SpecError, match="another tokenizer"):
        check_origin(store, str(base), job(store, "other", "talk@1").shape, other)


def test_adapters_without_a_model_are_refused() -> None:
    with pytest.raises(SpecError, match="start_from"):
        TrainSpec.of(name="pilot", dataset="talk@1", lora={"rank": 4})
