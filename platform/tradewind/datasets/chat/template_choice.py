"""Which template conversations get: the one asked for, that of the tokenizer, or the built-in one."""

from __future__ import annotations

import json
from typing import Any

from tradewind import progress
from tradewind.datasets.chat.template import PLAIN, ChatTemplate
from tradewind.datasets.corpus.sources import read_whole
from tradewind.datasets.dataset import Dataset
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import DatasetSpec

EOS, BOS = "eos_token", "bos_token"


def choose_template(spec: DatasetSpec, *, end_of_text: str, tokenizer_of: Dataset | None) -> ChatTemplate:
    """The template of a spec, or else the one that its tokenizer came with, or else `PLAIN`.

    A tokenizer from a file comes with a `chat_template.jinja` or a `tokenizer_config.json` beside it, that of another
    dataset of conversations with theirs. Special tokens are those of the tokenizer; without any, `eos_token` is the end
    of text. Raises NotFoundError or SpecError for a template that is not there or cannot be read.
    """
    asked = spec.chat.template if spec.chat else None
    known = tokenizer_of.record.chat if tokenizer_of else None
    config = _beside(spec.tokenizer.file) if spec.tokenizer.file else {}
    text = _asked(asked) if asked else (known.template if known else _of_config(config, str(spec.tokenizer.file)))
    tokens = {EOS: end_of_text} | (known.special_tokens if known else _special_tokens(config))
    chosen = ChatTemplate(text or PLAIN, tuple(sorted(tokens.items())))
    chosen.compile()
    if BOS in chosen.text and BOS not in tokens:
        progress.print_line(f"the chat template names {BOS}, which the tokenizer does not tell: nothing is written")
    return chosen


def _asked(asked: str) -> str:
    """A template itself, or the text at a path or URL, or in the configuration of a tokenizer there."""
    if "{{" in asked or "{%" in asked:
        return asked
    data = read_whole(asked)
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise SpecError(f"{asked} is not UTF-8", hint="chat.template names a text of Jinja") from exc
    if not asked.endswith(".json"):
        return text
    found = _of_config(_parsed(text, asked), asked)
    if found is None:
        raise SpecError(f"{asked} holds no chat_template", hint="name a file that does, or leave chat.template out")
    return found


def _beside(tokenizer: str) -> dict[str, Any]:
    """What is known of a tokenizer from the files in its folder."""
    folder, slash, _ = tokenizer.rpartition("/")
    config = _read_if_there(f"{folder}{slash}tokenizer_config.json")
    values = _parsed(config, f"{folder}{slash}tokenizer_config.json") if config else {}
    template = _read_if_there(f"{folder}{slash}chat_template.jinja")  # what transformers looks at first
    return values | ({"chat_template": template} if template else {})


def _read_if_there(place: str) -> str | None:
    try:
        return read_whole(place).decode(errors="replace")
    except NotFoundError:
        return None


def _parsed(text: str, place: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise SpecError(f"{place} is not JSON: {exc}", hint="mend it, or give another tokenizer") from exc
    return values if isinstance(values, dict) else {}


def _of_config(config: dict[str, Any], place: str) -> str | None:
    """Its one template, or of several the one that is called default."""
    found = config.get("chat_template")
    if isinstance(found, list):
        found = next((one["template"] for one in found if one.get("name") == "default"), None)
        if found is None:
            raise SpecError(f"none of the chat templates of {place} is called default", hint="give chat.template")
    return found if isinstance(found, str) else None


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`bos_token` and its like, which are words or objects with a content."""
    given = {key: value for key, value in config.items() if key.endswith("_token")}
    extra = config.get("extra_special_tokens")
    given |= extra if isinstance(extra, dict) else {}
    words = {key: value.get("content") if isinstance(value, dict) else value for key, value in given.items()}
    return {key: word for key, word in words.items() if isinstance(word, str)}
