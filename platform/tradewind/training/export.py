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
    return {
        **_weights(store, record, shape, folder, lora),
        **_tokenizer(dataset, shape),
        "config.json": _json(family(shape.family).hugging_face_config(shape) | _ends(dataset)),
        "generation_config.json": _json(_ends(dataset)),
        "README.md": card.encode(),
    }


def _ends(dataset: Dataset) -> dict[str, Any]:
    """What a text begins and an answer ends with. Templates may end turns with a token of their own."""
    end_id = dataset.tokenizer().token_to_id(dataset.tokenizer_file.end_of_text)
    chat = dataset.record.chat
    ends_turn = dataset.tokenizer().token_to_id(chat.special_tokens.get("eos_token", "")) if chat else None
    ends = list(dict.fromkeys(token for token in (ends_turn, end_id) if token is not None))
    return {"bos_token_id": end_id, "eos_token_id": ends if len(ends) > 1 else ends[0]}


def _tokenizer(dataset: Dataset, shape: ModelShape) -> dict[str, bytes]:
    """The data's tokenizer, with the template of its conversations where it has any."""
    end_of_text, chat = dataset.tokenizer_file.end_of_text, dataset.record.chat
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "model_max_length": shape.context,
        "clean_up_tokenization_spaces": False,
        **(chat.special_tokens if chat else {}),
    }
    template = {"chat_template.jinja": chat.template.encode()} if chat else {}
    return {"tokenizer.json": dataset.tokenizer_json(), "tokenizer_config.json": _json(config), **template}


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

    from tradewind.training.checkpoint.contents import read_contents
    from tradewind.training.checkpoint.reading import fill
    from tradewind.training.model import Decoder
    from tradewind.training.model.lora import ADAPTER, add_adapters, merged, parts_of

    with torch.device("meta"):
        model = Decoder(shape)
        if lora:
            add_adapters(model, rank=lora.rank, alpha=lora.alpha, projections=lora.on)
    empty, contents = model.state_dict(), read_contents(store, record)
    for name in (name for name in empty if ADAPTER not in name and not (shape.tied and name == "lm_head.weight")):
        room = {part: torch.empty_like(empty[part], device="cpu") for part in parts_of(name, model)}
        fill(store, record, {"model": room}, contents)
        yield name, merged(name, model, room)


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=2).encode()


def model_card(start: RunStart, record: CheckpointRecord, *, name: str) -> str:
    """What a person should know before using the model, as the README.md that stands beside the weights."""
    batch = start.spec["batch"]
    made = f"trained from nothing on `{start.dataset}`"
    nature = "It continues text like its training data. It knows no facts and follows no instructions."
    if origin := start.spec.get("start_from"):
        made = f"made from `{origin}` by training on `{start.dataset}`"
        nature = "It behaves like that model, moved towards its training data. It was not tested for more."
    loss = "not evaluated" if record.heldout_loss is None else f"{record.heldout_loss:.4f} nats a token"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {name}

A {start.spec["model"]["family"]} model with {start.parameters:,} parameters, {made}.

| | |
| --- | --- |
| run | `{start.run}`, step {record.step} |
| tokens trained on | {record.tokens:,} |
| held-out loss | {loss} |
| context | {batch["tokens_per_sequence"]} tokens |
| made with | {", ".join(f"{library} {version}" for library, version in start.versions.items())} |

{nature}
"""
