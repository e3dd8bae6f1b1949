"""The files of the model that an endpoint serves: a version of the registry, or a folder behind any URL."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradewind.errors import CapacityError, NotFoundError, SpecError
from tradewind.registry import Models
from tradewind.specs.serve import is_place
from tradewind.storage import ObjectInfo, Store, open_store
from tradewind.storage.cache import default_cache

FILES_AT_ONCE = 8
CONFIG = "config.json"
MARKS = (CONFIG, "model.pt2")
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class ModelFiles:
    """`reference` is `name@version`, or a URL. It can be pickled, and opens nothing until it is asked."""

    store: Store
    reference: str

    @classmethod
    def of(cls, store: Store, source: str) -> ModelFiles:
        """What a spec's `model` means now: an alias is resolved. Raises NotFoundError with the nearest name."""
        if not is_place(source):
            return cls(store, Models(store).get(source).reference)
        place = open_store(str(Path(source).expanduser()) if source.startswith("~") else source)
        if _mark(place) is None:
            raise NotFoundError(f"{place.url} has no {CONFIG}", hint="name the folder with the model's files")
        return cls(place, place.url)

    def config(self) -> bytes:
        """The bytes of the model's `config.json`. Raises SpecError for a model without one."""
        if is_place(self.reference):
            return self.store.get(CONFIG)
        file = Models(self.store).get(self.reference).record.files.get(CONFIG)
        if file is None:
            raise SpecError(f"model {self.reference} has no {CONFIG}", hint="register it again")
        return self.store.get(file.key)

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(self._sizes().values())

    @property
    def weights_bytes(self) -> int:
        """Of the files with weights."""
        return sum(size for name, size in self._sizes().items() if name.endswith(WEIGHTS))

    @property
    def has_config(self) -> bool:
        return CONFIG in self._sizes()

    def _sizes(self) -> dict[str, int]:
        if is_place(self.reference):
            return {item.key: item.num_bytes for item in self.store.list("")}
        files = Models(self.store).get(self.reference).record.files
        return {name: file.num_bytes for name, file in files.items()}

    @contextmanager
    def here(self) -> Iterator[Path]:
        """A folder of this machine with the files, fetched once into its cache. Raises IntegrityError, CapacityError.

        Files of the registry are verified. Those behind a URL have no checksums: an engine finds what is damaged.
        """
        if not is_place(self.reference):
            with Models(self.store).get(self.reference).linked() as folder:
                yield folder
        elif (config := self.store.local_path(_mark(self.store) or CONFIG)) is not None:
            yield config.parent
        else:
            yield _fetched(self.store)


def _mark(place: Store) -> str | None:
    """The file by which a folder is known to be a model's, so that no other one is fetched whole."""
    for name in MARKS:
        try:
            place.head(name)
        except NotFoundError:
            continue
        return name
    return None


def _fetched(place: Store) -> Path:
    """The cached copy of a folder, as it is now. Whoever comes meanwhile waits for the one download."""
    items = sorted(place.list(""), key=lambda item: item.key)
    state = "\n".join(f"{item.key} {item.num_bytes} {item.modified_at}" for item in items)
    name = hashlib.sha256(f"{place.url}\n{state}".encode()).hexdigest()[:32]
    folder = default_cache().folder.parent / "models" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(place, items, folder)
    return folder


def _fetch(place: Store, items: list[ObjectInfo], folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
            list(threads.map(lambda item: _fetch_file(place, item, part / item.key), items))
        part.rename(folder)
    except OSError as exc:
        raise CapacityError(f"{place.url} does not fit here: {exc.strerror}", hint="free space in the cache") from exc


def _fetch_file(place: Store, item: ObjectInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for piece in place.stream(item.key):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
