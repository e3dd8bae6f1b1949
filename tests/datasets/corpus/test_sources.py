from __future__ import annotations

import gzip
import io
import shutil
import sysconfig
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import write_text
from tradewind.datasets.corpus.sources import READ_BYTES, Source, _matches, find_sources, read_whole
from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import TextSpec
from tradewind.storage import open_store

FILES = ("a.txt", "b.txt", "c.py", "deep/d.txt", "deep/er/e.txt", "deep/test/f.txt")


def text_spec(*files: str, **values: Any) -> TextSpec:
    return TextSpec(files=files, **values)


def names(spec: TextSpec) -> list[str]:
    return [Path(source.key).name for source in find_sources(spec)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "text" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the text of {name}")
    (tmp_path / "text" / "empty.txt").touch()
    return tmp_path / "text"


@pytest.fixture(params=["", "file://"])
def root(request: pytest.FixtureRequest, folder: Path) -> str:
    """The files as those of this machine, or of a store."""
    return f"{request.param}{folder}"


def content(source: Source) -> bytes:
    with source.open() as file:
        return file.read()


def test_star_stays_in_a_folder_and_two_stars_cross_folders(root: str) -> None:
    assert sorted(names(text_spec(f"{root}/*.txt"))) == ["a.txt", "b.txt"]
    assert sorted(names(text_spec(f"{root}/**/*.txt"))) == ["a.txt", "b.txt", "d.txt", "e.txt", "f.txt"]
    assert sorted(names(text_spec(f"{root}/deep/**/*.txt"))) == ["d.txt", "e.txt", "f.txt"]
    assert sorted(names(text_spec(f"{root}/deep/*/*.txt"))) == ["e.txt", "f.txt"]


def test_question_mark_and_brackets_match_also_in_folders(root: str) -> None:
    assert names(text_spec(f"{root}/[ab].*")) == names(text_spec(f"{root}/[a-b].t?t"))
    assert sorted(names(text_spec(f"{root}/d[e]ep/*.txt", f"{root}/?.txt"))) == ["a.txt", "b.txt", "d.txt"]


def test_pattern_without_a_star_is_one_file(root: str) -> None:
    assert names(text_spec(f"{root}/a.txt")) == ["a.txt"]
    with pytest.raises(NotFoundError, match=r"no text files match .*/z\.txt"):
        find_sources(text_spec(f"{root}/z.txt"))


def test_excluded_paths_and_empty_files_are_left_out(root: str) -> None:
    assert sorted(names(text_spec(f"{root}/**/*", exclude=["*/test/*", "*.py"]))) == [
        "a.txt",
        "b.txt",
        "d.txt",
        "e.txt",
    ]


def test_order_is_the_same_in_a_folder_and_on_a_store(folder: Path) -> None:
    local, stored = find_sources(text_spec(f"{folder}/**/*.txt")), find_sources(text_spec(f"file://{folder}/**/*.txt"))
    assert [source.name for source in local] == [source.name for source in stored]
    assert [source.store for source in local] == [None] * 5
    assert list(map(content, local)) == list(map(content, stored))


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("**/*.txt", {"a.txt", "x/b.txt", "x/y/c.txt"}),
        ("*/*.txt", {"x/b.txt"}),
        ("**", {"a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.py"}),
        ("x/**/?.*", {"x/b.txt", "x/y/c.txt", "x/y/d.py"}),
        (".h/*", {".h/e.txt"}),
        ("**/.f", {".f"}),
    ],
)
def test_keys_match_as_paths_do(pattern: str, matching: set[str], tmp_path: Path) -> None:
    keys = ["a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.py", ".h/e.txt", ".f"]
    assert {key for key in keys if _matches(key.split("/"), pattern.split("/"))} == matching
    for key in keys:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text("x")
    assert {source.name for source in find_sources(text_spec(f"{tmp_path}/{pattern}"))} == {
        key.removeprefix(".h/") if pattern == ".h/*" else key.removeprefix("x/") if pattern[0] == "x" else key
        for key in matching
    }


def test_objects_of_a_bucket_are_found_and_read(moto_s3: str) -> None:
    store = open_store(f"{moto_s3}/sources")
    for name in FILES:
        store.put(name, f"the text of {name}".encode())
    found = find_sources(text_spec(f"{moto_s3}/sources/**/*.txt", exclude=["*/test/*", f"{moto_s3}/sources/b.txt"]))
    assert sorted(source.name for source in found) == ["a.txt", "deep/d.txt", "deep/er/e.txt"]
    assert {source.location: content(source).decode() for source in found} == {
        f"{moto_s3}/sources/{source.name}": f"the text of {source.name}" for source in found
    }
    assert all(source.changed != "None" for source in found)


def test_bucket_that_does_not_exist_is_named(moto_s3: str) -> None:
    with pytest.raises(SpecError, match="there is no bucket for s3://nowhere-at-all"):
        find_sources(text_spec("s3://nowhere-at-all/*.txt"))


def test_relative_pattern_starts_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names(text_spec("**/*.txt")) == names(text_spec(f"{folder}/**/*.txt"))


def test_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert sorted(names(text_spec("~/*.txt"))) == ["a.txt", "b.txt"]


def test_file_that_several_patterns_match_is_read_once(folder: Path) -> None:
    assert sorted(names(text_spec(f"{folder}/*.txt", f"{folder}/a.*"))) == ["a.txt", "b.txt"]


def test_file_and_links_to_it_are_one_document(folder: Path) -> None:
    (folder / "0-link.txt").symlink_to(folder / "a.txt")
    (folder / "z-link.txt").symlink_to(folder / "a.txt")
    (folder / "lost.txt").symlink_to(folder / "nowhere")
    assert sorted(names(text_spec(f"{folder}/*.txt"))) == ["a.txt", "b.txt"]


def test_stdlib_stands_for_the_standard_library() -> None:
    sources = find_sources(text_spec("{stdlib}/json/*.py"))
    assert {Path(source.key).parent for source in sources} == {(Path(sysconfig.get_path("stdlib")) / "json").resolve()}
    assert "decoder.py" in {source.name for source in sources}


@pytest.mark.parametrize("pattern", ["{home}/*.txt", "{0}/*.txt", "{}/*.txt", "{stdlib", "{stdlib.nothing}/*.py"])
def test_unknown_variable_is_refused_by_its_pattern(pattern: str) -> None:
    with pytest.raises(SpecError, match="holds an unknown variable") as caught:
        find_sources(text_spec(pattern))
    assert repr(pattern) in caught.value.message
    assert caught.value.hint == "only {stdlib} is known"


def test_patterns_that_match_nothing_are_named(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no text files match .*/\*\.md, .*/empty\.txt"):
        find_sources(text_spec(f"{folder}/*.md", f"{folder}/empty.txt"))


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
    found = [Path(source.key).parent.name for source in find_sources(text_spec(*patterns))]
    assert found == ["one", "two"] * 4
    assert [Path(source.key).parent.name for source in find_sources(text_spec(*reversed(patterns)))] == [
        "two",
        "one",
    ] * 4


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("a.txt", "plain", None),
        ("a.txt.gz", "plain", "gzip"),
        ("a.json", "plain", None),
        ("a.json.gz", "lines", "gzip"),
        ("a.jsonl", "lines", None),
        ("a.JSONL", "lines", None),
        ("a.ndjson.zst", "lines", "zstd"),
        ("a.parquet", "parquet", None),
        ("jsonl", "plain", None),
    ],
)
def test_names_say_what_is_in_a_file(name: str, kind: str, compression: str | None) -> None:
    source = Source(name, name, 1, "")
    assert (source.format, source.compression) == (kind, compression)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200)), max_size=10))
def test_object_of_a_store_is_read_like_a_file(reads: list[tuple[int, int]]) -> None:
    store = open_store("memory://test-object-of-a-store")
    data = bytes(range(256))
    store.put("a", data)
    with Source("a", "a", len(data), "", store.url).open() as file, io.BytesIO(data) as expected:
        for place, count in reads:
            assert file.seek(place) == expected.seek(place)
            assert file.read(count) == expected.read(count)
        file.seek(0)
        assert file.read() == data


def test_long_object_is_read_in_pieces() -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    data = bytes(3 * READ_BYTES + 5)
    store.put("a.gz", gzip.compress(data))
    store.put("a", data)
    with Source("a", "a", len(data), "", store.url).open() as file:
        assert sum(map(len, iter(lambda: file.read(1000_000), b""))) == len(data)


def test_small_file_is_read_from_a_path_or_a_url(folder: Path) -> None:
    assert read_whole(f"{folder}/a.txt") == read_whole(f"file://{folder}/a.txt") == b"the text of a.txt"
    for place in (f"{folder}/z.txt", f"file://{folder}/z.txt"):
        with pytest.raises(NotFoundError, match=r"z\.txt"):
            read_whole(place)
