"""Documents of random words, and a tokenizer of as many words as Llama 3 has tokens: the same text for every peer."""

from __future__ import annotations

import json
import random
from pathlib import Path

VOCABULARY = 128256
SPECIAL = ("<|begin_of_text|>", "<|end_of_text|>", "<unk>", "<pad>")
DOCUMENTS, WORDS = 400, 1500


def documents() -> list[list[int]]:
    """Token ids of each document, with the marks of its begin and end."""
    drawn = random.Random(0)
    return [[0, *(drawn.randrange(len(SPECIAL), VOCABULARY) for _ in range(WORDS)), 1] for _ in range(DOCUMENTS)]


def sequences(length: int, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """Consecutive stretches of `length` + 1 tokens of this rank's share of the documents, none overlapping."""
    share = documents()[rank * DOCUMENTS // ranks : (rank + 1) * DOCUMENTS // ranks]
    stream = [token for document in share for token in document]
    return [stream[start : start + length + 1] for start in range(0, len(stream) - length, length + 1)]


def write_for_titan(folder: Path) -> None:
    """The tokenizer and the text as torchtitan's loader reads them."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    (folder / "text").mkdir(exist_ok=True)
    words = {word: number for number, word in enumerate(SPECIAL)}
    words |= {f"w{number}": number for number in range(len(SPECIAL), VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=SPECIAL[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    config = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "unk_token": SPECIAL[2], "pad_token": SPECIAL[3]}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})
    )
    lines = (json.dumps({"text": " ".join(f"w{token}" for token in ids[1:-1])}) for ids in documents())
    (folder / "text" / "data.json").write_text("\n".join(lines) + "\n")
