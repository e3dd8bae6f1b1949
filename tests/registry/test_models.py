from __future__ import annotations

import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tradewind.errors import IntegrityError, NotFoundError, SpecError, StorageError
from tradewind.records import AliasMove
from tradewind.registry import Model, Models
from tradewind.storage import RecordLog, Store, open_store

FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 100, "README.md": b"# pilot"}


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store)


def add(models: Models, name: str = "pilot", files: dict[str, bytes] | None = None) -> Model:
    return models.add(
        name,
        files or FILES,
        parents=("checkpoint:first/100", "run:first", "dataset:logbook@1"),
        family="llama",
        parameters=1234,
        context=64,
        heldout_loss=3.25,
        card={"run": "first", "step": 100},
    )


def test_added_model_is_got_and_listed(models: Models) -> None:
    model = add(models)
    assert model.reference == "pilot@1"
    assert model.record.id == "model:pilot@1"
    assert model.record.num_bytes == sum(map(len, FILES.values()))
    for reference in ("pilot", "pilot@1", "pilot@v1"):
        assert models.get(reference).record == model.record
    assert models.names() == ["pilot"]
    assert list(models.list()) == [model.record]


def test_empty_registry_has_no_models(models: Models) -> None:
    assert models.names() == []
    assert list(models.list()) == []
    assert models.aliases("pilot") == {}


def test_name_alone_means_the_newest_version(models: Models) -> None:
    for _ in range(11):
        add(models)
    assert models.get("pilot").reference == "pilot@11"
    assert [one.version for one in models.list()] == list(range(1, 12))


def test_same_files_are_stored_once(models: Models) -> None:
    first, second = add(models), add(models)
    assert first.record.files == second.record.files
    assert len([item for item in models.store.list("models") if "/data/" in item.key]) == len(FILES)


def test_concurrent_adds_all_survive(models: Models) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: add(models, files={"a": str(number).encode()}), range(8)))
    assert sorted(one.record.version for one in made) == list(range(1, 9))
    assert [models.get(one.reference).record for one in made] == [one.record for one in made]


def test_alias_means_what_it_was_last_promoted_to(models: Models) -> None:
    for _ in range(3):
        add(models)
    models.promote("pilot@3", alias="prod")
    models.promote("pilot@1", alias="prod")
    move = models.promote("pilot@2", alias="prod")
    assert (move.version, move.move, move.parents) == (2, 3, ("model:pilot@2",))
    assert models.get("pilot@prod").reference == "pilot@2"
    assert models.get("pilot").reference == "pilot@3"


def test_history_of_an_alias_is_kept(models: Models) -> None:
    for reference in [add(models).reference for _ in range(2)]:
        models.promote(reference, alias="prod")
    models.promote("pilot@1", alias="prod")
    log = RecordLog(models.store, "models/pilot/aliases/prod", AliasMove)
    assert [(one.move, one.version) for one in log.all()] == [(1, 1), (2, 2), (3, 1)]


def test_aliases_move_by_themselves(models: Models) -> None:
    add(models)
    add(models)
    add(models, "other")
    models.promote("pilot@1", alias="prod")
    models.promote("pilot", alias="canary")
    models.promote("pilot@canary", alias="prod-eu")
    models.promote("other", alias="prod")
    assert models.aliases("pilot") == {"prod": 1, "canary": 2, "prod-eu": 2}
    assert models.get("other@prod").reference == "other@1"


def test_concurrent_promotions_all_are_in_the_history(models: Models) -> None:
    for _ in range(4):
        add(models)
    with ThreadPoolExecutor(4) as pool:
        moves = list(pool.map(lambda version: models.promote(f"pilot@{version}", alias="prod"), range(1, 5)))
    last = max(moves, key=lambda move: move.move)
    assert sorted(move.move for move in moves) == [1, 2, 3, 4]
    assert models.aliases("pilot") == {"prod": last.version}


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("pilto", r"no model named 'pilto' \(did you mean 'pilot'\?\)"),
        ("pilot@2", "pilot has no version 2"),
        ("pilot@prd", r"pilot has no alias 'prd' \(did you mean 'prod'\?\)"),
    ],
)
def test_what_is_not_there_is_not_found_and_the_nearest_is_named(
    models: Models, reference: str, complaint: str
) -> None:
    add(models)
    models.promote("pilot", alias="prod")
    for act in (models.get, lambda name: models.promote(name, alias="next")):
        with pytest.raises(NotFoundError, match=complaint):
            act(reference)
    assert models.aliases("pilot") == {"prod": 1}


@pytest.mark.parametrize("name", ["", "a b", "../up", "Pilot", "a/b"])
def test_name_that_cannot_stand_in_a_path_is_refused(models: Models, name: str) -> None:
    with pytest.raises(SpecError, match="is not a name"):
        add(models, name)
    add(models)
    with pytest.raises(SpecError, match="is not a name"):
        models.promote("pilot", alias=name)
    assert models.names() == ["pilot"]


def test_exported_folder_holds_the_files(models: Models, tmp_path: Path) -> None:
    folder = add(models).export(tmp_path / "new" / "folder")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_export_into_an_empty_folder_is_fine(models: Models, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(list(add(models).export(tmp_path / "empty").iterdir())) == len(FILES)


def test_exported_files_are_copies(models: Models, tmp_path: Path) -> None:
    model = add(models)
    (model.export(tmp_path / "out") / "config.json").write_bytes(b"changed")
    assert (model.export(tmp_path / "again") / "config.json").read_bytes() == FILES["config.json"]


def test_export_leaves_a_folder_with_files_as_it_is(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(SpecError, match=r"full is not empty"):
        add(models).export(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_export_to_where_a_file_is_says_so(models: Models, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"file.* cannot be written: "):
        add(models).export(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("harm", ["altered", "missing"])
def test_export_of_a_damaged_model_writes_nothing(models: Models, tmp_path: Path, harm: str) -> None:
    model = add(models, files={**FILES, "zebra.json": b"{}"})
    key = model.record.files["zebra.json"].key
    if harm == "altered":
        models.store.put(key, b"[]")
    else:
        models.store.delete(key)
    with pytest.raises(IntegrityError, match=f"model pilot@1.*{key}"):
        model.export(tmp_path / "out" / "model")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(IntegrityError, match=key):
        model.verify()
    with pytest.raises(IntegrityError, match=key), model.linked():
        pass


def test_linked_folder_reads_like_the_files_and_goes_with_the_block(models: Models) -> None:
    with add(models).linked() as folder:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
        assert all(path.is_symlink() for path in folder.iterdir())
    assert not folder.exists()


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this machine, with room for no more than one byte that nobody reads."""
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRADEWIND_CACHE_BYTES", "1")
    return tmp_path / "cache"


@pytest.fixture
def remote(small_cache: Path) -> Models:
    """Its files come through the cache."""
    return Models(open_store(f"memory://{uuid.uuid4().hex}"))


def test_linked_files_stay_while_others_need_the_room(remote: Models) -> None:
    other = add(remote, "other", files={"a": b"other" * 1000})
    with add(remote).linked() as folder:
        with other.linked():
            pass
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_links_hold_where_the_cache_is_named_from_here(
    remote: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRADEWIND_CACHE", "here")
    with add(remote).linked() as folder:
        assert (folder / "config.json").read_bytes() == FILES["config.json"]


def test_export_copies_what_others_need_the_room_of(
    remote: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, other = shutil.copyfile, add(remote, "other", files={"a": b"other" * 1000})

    def late_copy(source: Path, target: Path, **options: bool) -> None:
        with other.linked():
            copy(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", late_copy)
    folder = add(remote).export(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_verify_reads_the_store_and_not_this_machine(models: Models) -> None:
    model = add(models)
    model.verify()
    with model.linked():
        pass
    file = model.record.files["model.safetensors"]
    models.store.put(file.key, b"W" * file.num_bytes)
    with pytest.raises(IntegrityError, match=f"model pilot@1.*{file.key}"):
        model.verify()


def test_links_hold_also_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = add(Models(open_store("relative/store")))
    with model.linked() as folder:
        monkeypatch.chdir("/")
        assert (folder / "config.json").read_bytes() == FILES["config.json"]
