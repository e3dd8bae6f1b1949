"""Small conversations, and a tokenizer that knows the special tokens of a chat, trained on them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.samples import WORDS
from tradewind.datasets.tokenizer import END_OF_TEXT

START, END = "<|im_start|>", "<|im_end|>"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATML_GENERATION = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{- message.content + '<|im_end|>' }}{%- endif %}{{- '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
ENDS_EACH_ANSWER = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ '[INST] ' + message.content + "
    "' [/INST]' }}{% elif message.role == 'assistant' %}{{ ' ' + message.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant roles are known') }}{% endif %}{% endfor %}"
)


def message(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def sentence(draw: random.Random, *, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words)).capitalize() + draw.choice((".", "!", "?\n", " 🌊"))


def dialogue(number: int, *, turns: int = 2, words: int = 12) -> list[dict[str, Any]]:
    """A system message now and then, and turns of a user with an assistant."""
    draw = random.Random(f"dialogue/{number}")
    system = [message("system", sentence(draw, words=4))] if number % 3 == 0 else []
    return system + [
        message(role, sentence(draw, words=draw.randint(2, words)))
        for _ in range(draw.randint(1, turns))
        for role in ("user", "assistant")
    ]


def write_dialogues(path: Path, *, count: int = 60, **sizes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"messages": dialogue(number, **sizes), "id": number} for number in range(count)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tokenizer(folder: Path, *, template: str | None = CHATML_GENERATION, **config: Any) -> Path:
    """A `tokenizer.json` of byte-level BPE with the special tokens of ChatML, and its configuration beside it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[END_OF_TEXT, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [one["content"] for number in range(200) for one in dialogue(number)]
    tokenizer.train_from_iterator([*texts, "system\nuser\nassistant\n"], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END_OF_TEXT}
    values = known | ({"chat_template": template} if template else {}) | config
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder / "tokenizer.json"
