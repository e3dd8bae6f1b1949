from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import write_text
from tradewind.datasets.text import Document, find_documents, read_text, split_heldout
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import DatasetSpec, TextSpec


def text_spec(*files: str, **values: Any) -> TextSpec:
    return DatasetSpec.of(name="logbook", text={"files": files, **values}).text


def names(spec: TextSpec) -> list[str]:
    return [document.path.name for document in find_documents(spec)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.py", "deep/d.txt", "deep/er/e.txt", "deep/test/f.txt"):
        path = tmp_path / "text" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the text of {name}")
    (tmp_path / "text" / "empty.txt").touch()
    return tmp_path / "text"


def test_star_stays_in_a_folder_and_two_stars_cross_folders(folder: Path) -> None:
    assert sorted(names(text_spec(f"{folder}/*.txt"))) == ["a.txt", "b.txt"]
    assert sorted(names(text_spec(f"{folder}/**/*.txt"))) == ["a.txt", "b.txt", "d.txt", "e.txt", "f.txt"]


def test_question_mark_and_brackets_match_also_in_folders(folder: Path) -> None:
    assert names(text_spec(f"{folder.parent}/t?xt/[ab].*")) == names(text_spec(f"{folder}/[ab].*"))
    assert sorted(names(text_spec(f"{folder}/d[e]ep/*.txt", f"{folder}/?.txt"))) == ["a.txt", "b.txt", "d.txt"]


def test_pattern_without_a_star_is_one_file(folder: Path) -> None:
    assert names(text_spec(f"{folder}/a.txt")) == ["a.txt"]


def test_relative_pattern_starts_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names(text_spec("**/*.txt")) == names(text_spec(f"{folder}/**/*.txt"))


def test_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert sorted(names(text_spec("~/*.txt"))) == ["a.txt", "b.txt"]


def test_excluded_paths_and_empty_files_are_left_out(folder: Path) -> None:
    spec = text_spec(f"{folder}/**/*", exclude=["*/test/*", "*.py"])
    assert sorted(names(spec)) == ["a.txt", "b.txt", "d.txt", "e.txt"]


def test_file_that_several_patterns_match_is_read_once(folder: Path) -> None:
    assert sorted(names(text_spec(f"{folder}/*.txt", f"{folder}/a.*"))) == ["a.txt", "b.txt"]


def test_file_and_links_to_it_are_one_document(folder: Path) -> None:
    (folder / "0-link.txt").symlink_to(folder / "a.txt")
    (folder / "z-link.txt").symlink_to(folder / "a.txt")
    (folder / "lost.txt").symlink_to(folder / "nowhere")
    assert sorted(names(text_spec(f"{folder}/*.txt"))) == ["a.txt", "b.txt"]


def test_stdlib_stands_for_the_standard_library() -> None:
    documents = find_documents(text_spec("{stdlib}/json/*.py"))
    assert {document.path.parent for document in documents} == {(Path(sysconfig.get_path("stdlib")) / "json").resolve()}
    assert "decoder.py" in {document.path.name for document in documents}


@pytest.mark.parametrize("pattern", ["{home}/*.txt", "{0}/*.txt", "{}/*.txt", "{stdlib", "{stdlib.nothing}/*.py"])
def test_unknown_variable_is_refused_by_its_pattern(pattern: str) -> None:
    with pytest.raises(SpecError, match="holds an unknown variable") as caught:
        find_documents(text_spec(pattern))
    assert repr(pattern) in caught.value.message
    assert caught.value.hint == "only {stdlib} is known"


def test_patterns_that_match_nothing_are_named(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no text files match .*/\*\.md, .*/empty\.txt"):
        find_documents(text_spec(f"{folder}/*.md", f"{folder}/empty.txt"))


def test_max_bytes_is_never_passed(folder: Path) -> None:
    everything = find_documents(text_spec(f"{folder}/**/*.txt"))
    sizes = [document.num_bytes for document in everything]
    for count in range(2, len(sizes)):
        for limit in (sum(sizes[:count]), sum(sizes[:count]) + sizes[count] - 1):
            assert find_documents(text_spec(f"{folder}/**/*.txt", max_bytes=limit)) == everything[:count]


def test_limit_that_no_document_fits_is_named(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"max_bytes of 5 .*leaves no"):
        find_documents(text_spec(f"{folder}/*.txt", max_bytes=5))


def test_order_depends_on_names_and_not_on_place_or_age(tmp_path: Path) -> None:
    first, second = write_text(tmp_path / "one"), tmp_path / "somewhere" / "else"
    second.mkdir(parents=True)
    for path in sorted(first.iterdir(), reverse=True):
        shutil.copy(path, second)
    order = names(text_spec(f"{first}/**/*.txt"))
    assert order == names(text_spec(f"{second}/**/*.txt"))
    assert order != sorted(order)


def test_order_of_two_folders_with_the_same_names_is_that_of_their_patterns(tmp_path: Path) -> None:
    patterns = [f"{write_text(tmp_path / name, documents=4, words=5)}/*.txt" for name in ("one", "two")]
    found = [document.path.parent.name for document in find_documents(text_spec(*patterns))]
    assert found == ["one", "two"] * 4
    assert [document.path.parent.name for document in find_documents(text_spec(*reversed(patterns)))] == [
        "two",
        "one",
    ] * 4


@given(st.integers(2, 500), st.floats(0.0001, 0.4999))
def test_no_split_is_empty_and_together_they_are_everything(count: int, fraction: float) -> None:
    documents = [Document(Path(str(number)), 1) for number in range(count)]
    training, heldout = split_heldout(documents, fraction)
    assert training
    assert heldout
    assert sorted([*training, *heldout], key=lambda one: int(one.path.name)) == documents
    assert len(heldout) <= max(1, round(count * fraction))


def test_single_document_cannot_be_split() -> None:
    with pytest.raises(SpecError, match="one document cannot be split"):
        split_heldout([Document(Path("a"), 1)], 0.1)


def test_text_is_read_as_it_is(tmp_path: Path) -> None:
    text = "one\r\ntwo\rthree\n\ufeff\x00ünïcödé 波止場 🌊"
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    assert read_text(Document(path, path.stat().st_size)) == text


def test_file_that_is_not_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("plain h\u00e4fen".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin\.txt is not UTF-8 \(byte 7\)"):
        read_text(Document(path, 11))


def test_file_that_is_gone_when_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"gone\.txt cannot be read: No such file"):
        read_text(Document(tmp_path / "gone.txt", 11))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(SpecError, match=r"secret\.txt cannot be read: Permission denied"):
        read_text(Document(path, 1))
