from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tradewind.errors import NotFoundError
from tradewind.registry import Models
from tradewind.serving.model_files import ModelFiles
from tradewind.storage import Store, open_store


@pytest.fixture
def place() -> Store:
    """A folder behind a URL, with a model's files in it and in a folder below."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    for name, data in {"config.json": b"{}", "model.safetensors": b"weights", "more/notes.txt": b"n"}.items():
        store.put(name, data)
    return store


def test_alias_is_resolved_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    models = Models(store)
    for data in (b"1", b"2"):
        files: dict[str, bytes | Path] = {"config.json": data}
        models.add("pilot", files, parents=(), family="llama", parameters=1, context=1, heldout_loss=None, card={})
    models.promote("pilot@1", alias="prod")
    files_of = ModelFiles.of(store, "pilot@prod")
    models.promote("pilot@2", alias="prod")
    assert (files_of.reference, files_of.config(), files_of.num_bytes) == ("pilot@1", b"1", 1)
    with files_of.here() as folder:
        assert (folder / "config.json").read_bytes() == b"1"


def test_folder_behind_a_url_is_fetched_once_until_it_changes(place: Store) -> None:
    files = ModelFiles.of(place, place.url)
    assert (files.reference, files.config(), files.num_bytes) == (place.url, b"{}", 10)
    with files.here() as first:
        assert {path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file()} == {
            "config.json",
            "model.safetensors",
            "more/notes.txt",
        }
    (first / "config.json").write_text("read from the cache")
    with files.here() as second:
        assert second == first
        assert (second / "config.json").read_text() == "read from the cache"
    place.put("model.safetensors", b"other weights")
    with files.here() as third:
        assert third != first
        assert (third / "model.safetensors").read_bytes() == b"other weights"


def test_folder_of_this_machine_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with ModelFiles.of(open_store(str(tmp_path)), str(tmp_path)).here() as folder:
        assert folder.resolve() == tmp_path.resolve()


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no config\.json") as caught:
        ModelFiles.of(open_store(str(tmp_path)), str(tmp_path))
    assert caught.value.hint == "name the folder with the model's files"


def test_unknown_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    Models(store).add("pilot", {"a": b""}, parents=(), family="x", parameters=1, context=1, heldout_loss=None, card={})
    with pytest.raises(NotFoundError, match=r"did you mean 'pilot'\?"):
        ModelFiles.of(store, "pilto")
