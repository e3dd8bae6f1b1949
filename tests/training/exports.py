"""Short real trainings of a small model of each family, on text and then on conversations, and their exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.samples import VOCABULARY, dataset_spec, write_text
from tests.training.conftest import Ranks
from tradewind.datasets import Datasets
from tradewind.families import shape_of
from tradewind.specs import DatasetSpec, TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training import hugging_face_files
from tradewind.training.job import Job
from tradewind.training.run import RunFiles
from tradewind.training.worker import train

CONTEXT = 64
SIZES: dict[str, Any] = {"hidden": 64, "layers": 2, "heads": 2, "ffn": 96}
EXPERTS = {"routed": 8, "active": 2, "ffn": 32}
DEEPSEEK = {**SIZES, "family": "deepseek", "tied": False, "experts": {**EXPERTS, "shared": 1, "dense_layers": 1}}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, "kv_heads": 1},
    "qwen": {**SIZES, "family": "qwen", "kv_heads": 1, "head_dim": 32},
    "qwen moe": {**SIZES, "family": "qwen", "experts": {**EXPERTS, "shared": 0, "dense_layers": 0}},
    "deepseek": {
        **DEEPSEEK,
        "latent": {"query_rank": 32, "rank": 32, "rope_dim": 32, "plain_dim": 32, "value_dim": 32},
    },
    "deepseek, a cache as wide as V3's": {
        **DEEPSEEK,
        "latent": {"query_rank": None, "rank": 512, "rope_dim": 64, "plain_dim": 32, "value_dim": 32},
    },
}
"""Heads are as wide as vLLM's attention on a processor takes them."""
QUESTION = [{"role": "user", "content": "the quay 3"}]


def prepare(folder: Path) -> Store:
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


def trained(ranks: Ranks, store: Store, name: str, folder: Path) -> Path:
    """The export of a model that has seen a little text."""
    return exported(ranks, store, name, "logbook@1", folder)


def answering(ranks: Ranks, store: Store, name: str, base: Path, folder: Path) -> Path:
    """The export of that model with adapters for conversations merged in."""
    return exported(ranks, store, name, "talk@1", folder, start_from=str(base), lora={"rank": 4})


def exported(ranks: Ranks, store: Store, name: str, dataset: str, folder: Path, **wishes: Any) -> Path:
    spec = TrainSpec.of(
        name="pilot",
        dataset=dataset,
        model=MODELS[name],
        batch={"sequences": 8, "tokens_per_sequence": CONTEXT},
        checkpoint_every_s=60,
        **({"max_steps": 12, "optimizer": {"learning_rate": 0.02, "warmup_steps": 2}} | wishes),
    )
    shape = shape_of(spec.model, vocabulary=VOCABULARY, context=CONTEXT)
    job = Job(run=folder.name, spec=spec, shape=shape, datasets={dataset: 1.0}, store=store)
    ranks.run(train, job, world=1)
    record = RunFiles(store, job.run).checkpoints()[-1]
    folder.mkdir()
    made = hugging_face_files(
        store, record, shape, Datasets(store).get(dataset), card="# pilot", folder=folder, lora=spec.lora
    )
    for file, content in made.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
    return folder
