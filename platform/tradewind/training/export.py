"""A checkpoint as the files that Hugging Face's libraries load: weights, config, tokenizer, and a card for people."""

from __future__ import annotations

import json
from typing import Any

from tradewind.datasets import Dataset
from tradewind.families import ModelShape, family
from tradewind.records import CheckpointRecord, RunStart
from tradewind.storage import Store


def hugging_face_files(
    store: Store, record: CheckpointRecord, shape: ModelShape, dataset: Dataset, *, card: str
) -> dict[str, bytes]:
    """File names and contents. `transformers` loads them without tradewind. Raises IntegrityError for damaged parts."""
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
        "model.safetensors": _weights(store, record, shape),
        "config.json": _json(family(shape.family).hugging_face_config(shape) | tokens),
        "generation_config.json": _json(tokens),
        "tokenizer.json": dataset.tokenizer_json(),
        "tokenizer_config.json": _json(tokenizer_config),
        "README.md": card.encode(),
    }


def _weights(store: Store, record: CheckpointRecord, shape: ModelShape) -> bytes:
    import safetensors.torch

    from tradewind.training import checkpoint
    from tradewind.training.model import Decoder

    state = checkpoint.TrainingState([Decoder(shape)], []).weights()
    checkpoint.load(store, record, {"model": state}, alone=True)
    if shape.tied:
        state.pop("lm_head.weight", None)
    return safetensors.torch.save({name: weight.contiguous() for name, weight in state.items()}, {"format": "pt"})


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
