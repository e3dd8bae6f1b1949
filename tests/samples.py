"""Small real things for the tests of several packages: text files, the spec of a dataset, the files of a model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tradewind.specs import DatasetSpec

WORDS = ("harbour", "quay", "sail", "wind", "cargo", "chart", "anchor", "tide", "mast", "keel", "ünïcödé", "波止場")
VOCABULARY = 320


def write_text(folder: Path, *, documents: int = 24, words: int = 300, seed: int = 0) -> Path:
    """A folder of text files in which some words follow others more often, so that there is something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        draw = random.Random(f"{seed}/{number}")
        word, text = 0, []
        for _ in range(words):
            word = (word + draw.choice((1, 1, 1, 2, 5))) % len(WORDS)
            text.append(f"{WORDS[word]}{draw.choice(('', '', '', ',', '.'))}{draw.choice(' ' * 9 + chr(10))}")
        (folder / f"log-{number:03d}.txt").write_text("".join(text), encoding="utf-8")
    return folder


def dataset_spec(folder: Path, *, name: str = "logbook", **changes: Any) -> DatasetSpec:
    values = {"tokenizer": {"vocabulary": VOCABULARY}, "heldout_fraction": 0.15, "shard_bytes": 4096}
    return DatasetSpec.of(name=name, text={"files": [f"{folder}/**/*.txt"]}, **(values | changes))


def write_model(folder: Path, *, context: int = 64) -> Path:
    """The Hugging Face files of a random little Llama and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from tradewind.datasets.tokenizer import END_OF_TEXT, train_tokenizer

    text = [path.read_text(encoding="utf-8") for path in sorted(write_text(folder / "text").iterdir())]
    tokenizer = train_tokenizer(text, vocabulary=VOCABULARY)
    end = tokenizer.token_to_id(END_OF_TEXT)
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            bos_token_id=end,
            eos_token_id=end,
            initializer_range=0.3,  # so that some tokens are much likelier than others
        )
    )
    files = folder / "model"
    model.save_pretrained(files)
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, clean_up_tokenization_spaces=False
    ).save_pretrained(files)
    return files
