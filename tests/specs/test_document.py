from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradewind.errors import NotFoundError, SpecError
from tradewind.specs.document import Document


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        Document.parse(text, name="wish.yaml")
    return caught.value.message


def test_each_key_and_item_remembers_its_line() -> None:
    document = Document.parse("# wish\nname: a\ntext:\n  files:\n  - x\n  - y\n", name="wish.yaml")
    assert document.values == {"name": "a", "text": {"files": ["x", "y"]}}
    assert document.place(("name",)) == "wish.yaml:2"
    assert document.place(("text", "files")) == "wish.yaml:4"
    assert document.place(("text", "files", 1)) == "wish.yaml:6"


def test_place_of_what_is_missing_is_the_block_around_it() -> None:
    document = Document.parse("name: a\ntext:\n  files: []\n", name="wish.yaml")
    assert document.place(("text", "exclude")) == "wish.yaml:2"
    assert document.place(("nothing", "here")) == "wish.yaml:1"


def test_document_of_values_has_a_name_and_no_lines() -> None:
    assert Document.of({"a": 1}, name="TrainSpec").place(("a",)) == "TrainSpec"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: a\nname: b\n", "wish.yaml:2: key 'name' is given twice (first on line 1)"),
        ("text:\n  files: []\n  files: []\n", "wish.yaml:3: key 'files' is given twice (first on line 2)"),
        ("model: {heads: 2, heads: 3}\n", "wish.yaml:1: key 'heads' is given twice (first on line 1)"),
        ("steps:\n- a: 1\n  a: 2\n", "wish.yaml:3: key 'a' is given twice (first on line 2)"),
    ],
)
def test_key_that_is_given_twice_is_refused_with_both_lines(text: str, complaint: str) -> None:
    assert refusal(text) == complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [1,\n2\n", "wish.yaml:3: not valid YAML"),
        ("a: b: c\n", "wish.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("name: a\n\tmodel: b\n", "wish.yaml:2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "wish.yaml:2: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "wish.yaml:1: not valid YAML"),
        ("a: \x00\n", "wish.yaml: not valid YAML"),
        ("name: 2024-99-99\n", "wish.yaml: not valid YAML: month must be in 1..12"),
        ("? [a]\n: b\n", "wish.yaml:1: not valid YAML: found unhashable key"),
        ("a: " + "[" * 3000, "wish.yaml: not a spec: nested too deeply"),
        ("a: &loop [*loop]\n", "wish.yaml: not a spec: a part of it contains itself"),
        ("a: &loop {b: *loop}\n", "wish.yaml: not a spec: a part of it contains itself"),
        ("1: x\n", "wish.yaml:1: key '1' is not a word"),
        ("name: a\non: x\n", "wish.yaml:2: key 'on' is not a word"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(text: str, complaint: str) -> None:
    assert refusal(text).startswith(complaint)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n", "text\n", "5\n", "null\n"])
def test_what_is_not_a_mapping_is_refused(text: str) -> None:
    assert refusal(text) == "wish.yaml: a spec is a mapping of keys to values"


def test_merge_keys_and_anchors_work() -> None:
    document = Document.parse("a: &block {x: 1}\nb:\n  <<: *block\n  y: 2\n", name="wish.yaml")
    assert document.values["b"] == {"x": 1, "y": 2}


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no spec file"):
        Document.read(tmp_path / "none" / "wish.yaml")


def test_folder_and_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(SpecError, match="cannot be read"):
            Document.read(path)


@given(st.text(max_size=40) | st.text("ab:-[]{}&*!? \n\t'\"#,|>0", max_size=40))
@example("a: 0o9")
@example("? ? a")
def test_any_text_is_read_or_refused_with_spec_error(text: str) -> None:
    try:
        document = Document.parse(text, name="wish.yaml")
    except SpecError:
        return
    assert isinstance(document.values, dict)
