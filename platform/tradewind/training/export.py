"""A checkpoint as the files that Hugging Face's libraries load: weights, config, tokenizer, and a card for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.datasets import Dataset
from tradewind.families import ModelShape, family
from tradewind.records import CheckpointRecord, RunStart
from tradewind.specs.train import LoraSpec
from tradewind.storage import Store

if TYPE_CHECKING:
    from torch import Tensor


def hugging_face_files(
    store: Store,
    record: CheckpointRecord,
    shape: ModelShape,
    dataset: Dataset,
    *,
    card: str,
    folder: Path,
    lora: LoraSpec | None = None,
) -> dict[str, bytes | Path]:
    """File names and contents; those of weights lie in `folder`, and no two tensors are in memory at once.

    With `lora`, the checkpoint's adapters are merged into the weights. `transformers` loads the files without
    tradewind. Raises IntegrityError for damaged parts.
    """
    end_of_text = dataset.tokenizer_file.end_of_text
    end_id = dataset.tokenizer().token_to_id(end_of_text)
    tokens = {"bos_token_id": end_id, "eos_token_id": end_id}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "model_max_length": shape.context,
        "clean_up_tokenization_spaces": False,
    }
    return {
        **_weights(store, record, shape, folder, lora),
        "config.json": _json(family(shape.family).hugging_face_config(shape) | tokens),
        "generation_config.json": _json(tokens),
        "tokenizer.json": dataset.tokenizer_json(),
        "tokenizer_config.json": _json(tokenizer_config),
        "README.md": card.encode(),
    }


def _weights(
    store: Store, record: CheckpointRecord, shape: ModelShape, folder: Path, lora: LoraSpec | None
) -> dict[str, Path]:
    from tradewind.training.hugging_face import write_weights

    names = write_weights(_parameters(store, record, shape, lora), shape, folder)
    return {name: folder / name for name in names}


def _parameters(
    store: Store, record: CheckpointRecord, shape: ModelShape, lora: LoraSpec | None
) -> Iterator[tuple[str, Tensor]]:
    """The checkpoint's parameters, each read when it is asked for."""
    import torch

    from tradewind.training.checkpoint.reading import fill, read_metadata
    from tradewind.training.model import Decoder
    from tradewind.training.model.lora import ADAPTER, add_adapters, merged, parts_of

    with torch.device("meta"):
        model = Decoder(shape)
        if lora:
            add_adapters(model, rank=lora.rank, alpha=lora.alpha, projections=lora.on)
    empty, metadata = model.state_dict(), read_metadata(store, record)
    for name in (name for name in empty if ADAPTER not in name and not (shape.tied and name == "lm_head.weight")):
        room = {part: torch.empty_like(empty[part], device="cpu") for part in parts_of(name, model)}
        fill(store, record, {"model": room}, metadata)
        yield name, merged(name, model, room)


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=2).encode()


def model_card(start: RunStart, record: CheckpointRecord, *, name: str) -> str:
    """What a person should know before using the model, as the README.md that stands beside the weights."""
    batch = start.spec["batch"]
    loss = "not evaluated" if record.heldout_loss is None else f"{record.heldout_loss:.4f} nats a token"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {name}

A {start.spec["model"]["family"]} model with {start.parameters:,} parameters, trained from nothing on `{start.dataset}`.

| | |
| --- | --- |
| run | `{start.run}`, step {record.step} |
| tokens trained on | {record.tokens:,} |
| held-out loss | {loss} |
| context | {batch["tokens_per_sequence"]} tokens |
| made with | {", ".join(f"{library} {version}" for library, version in start.versions.items())} |

It continues text like its training data. It follows no instructions, knows no facts and was tested for neither.
"""
