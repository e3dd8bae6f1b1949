from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.chat.dialogues import CHATML, CHATML_GENERATION, END, write_dialogues, write_tokenizer
from tradewind.datasets import Datasets
from tradewind.datasets.chat.template import PLAIN, ChatTemplate
from tradewind.datasets.chat.template_choice import choose_template
from tradewind.datasets.tokenizer import END_OF_TEXT
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import DatasetSpec
from tradewind.storage import open_store


def spec(tokenizer: dict[str, Any] | None = None, **chat: Any) -> DatasetSpec:
    values: dict[str, Any] = {"files": ["*.jsonl"], "context": 64} | chat
    return DatasetSpec.of(name="talks", chat=values, tokenizer=tokenizer or {})


def chosen(wish: DatasetSpec, **options: Any) -> ChatTemplate:
    return choose_template(wish, **({"end_of_text": END_OF_TEXT, "tokenizer_of": None} | options))


@pytest.mark.parametrize("place", ["here", "store"])
def test_template_of_a_tokenizer_is_the_one_beside_it(tmp_path: Path, place: str) -> None:
    file = write_tokenizer(tmp_path / "tokenizer", pad_token={"content": "<pad>"}, add_bos_token=True)
    where = str(file) if place == "here" else f"file://{file}"
    found = chosen(spec({"file": where}))
    assert found.text == CHATML_GENERATION
    assert dict(found.special_tokens) == {"bos_token": END_OF_TEXT, "eos_token": END, "pad_token": "<pad>"}
    (file.parent / "chat_template.jinja").write_text(CHATML)
    assert chosen(spec({"file": where})).text == CHATML


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": PLAIN}, {"name": "default", "template": CHATML}]
    file = write_tokenizer(tmp_path, template=None, chat_template=several)
    assert chosen(spec({"file": str(file)})).text == CHATML
    file = write_tokenizer(tmp_path, template=None, chat_template=several[:1])
    with pytest.raises(SpecError, match=r"none of the chat templates of .* is called default"):
        chosen(spec({"file": str(file)}))


def test_without_any_it_is_the_built_in_one(tmp_path: Path) -> None:
    assert chosen(spec()) == ChatTemplate(PLAIN, (("eos_token", END_OF_TEXT),))
    file = write_tokenizer(tmp_path, template=None)
    (tmp_path / "tokenizer_config.json").unlink()
    assert chosen(spec({"file": str(file)})) == ChatTemplate(PLAIN, (("eos_token", END_OF_TEXT),))


def test_one_that_is_asked_for_goes_before_that_of_the_tokenizer(tmp_path: Path) -> None:
    file = str(write_tokenizer(tmp_path / "tokenizer"))
    (tmp_path / "my.jinja").write_text(CHATML)
    (tmp_path / "config.json").write_text(json.dumps({"chat_template": CHATML}))
    for asked in (CHATML, f"{tmp_path}/my.jinja", f"file://{tmp_path}/my.jinja", f"{tmp_path}/config.json"):
        assert chosen(spec({"file": file}, template=asked)).text == CHATML


def test_conversations_with_the_tokenizer_of_others_get_their_template(tmp_path: Path) -> None:
    file = write_tokenizer(tmp_path / "tokenizer")
    files = {"files": [str(write_dialogues(tmp_path / "talks.jsonl", count=8))]}
    first = Datasets(open_store(str(tmp_path / "store"))).add(spec({"file": str(file)}, **files))
    found = chosen(spec({"from": "talks@1"}), tokenizer_of=first)
    assert (found.text, dict(found.special_tokens)["eos_token"]) == (CHATML_GENERATION, END)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jinja", b"\xff", "is not UTF-8"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"{}", "holds no chat_template"),
        ("a.jinja", b"{% for %}", "line 1 of the chat template"),
    ],
)
def test_file_that_is_no_template_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SpecError, match=said):
        chosen(spec(template=str(tmp_path / name)))


def test_file_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"there is no file /nowhere/a\.jinja"):
        chosen(spec(template="/nowhere/a.jinja"))


def test_token_that_the_template_names_and_nobody_knows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    chosen(spec(template="{{ bos_token }}{{ eos_token }}"))
    assert "names bos_token, which the tokenizer does not tell" in "".join(capsys.readouterr())
