"""The models of a workspace: immutable versions, and aliases that move between them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradewind.errors import NotFoundError, SpecError, StorageError, did_you_mean
from tradewind.records import AliasMove, ModelVersion, StoredFile
from tradewind.specs import Reference
from tradewind.specs.reference import check_alias, check_name
from tradewind.storage import RecordLog, Store, put_content
from tradewind.storage.cache import CachedFile, default_cache
from tradewind.storage.origin import StoreOrigin
from tradewind.storage.verification import verify_files

FOLDER = "models"


@dataclass(frozen=True)
class Model:
    """One version of a model, with the store that holds its files."""

    store: Store
    record: ModelVersion

    @property
    def reference(self) -> str:
        return f"{self.record.name}@{self.record.version}"

    def export(self, folder: Path) -> Path:
        """Write the Hugging Face files into a new folder, verified. Raises SpecError when it holds files."""
        try:
            if folder.exists() and any(folder.iterdir()):
                raise SpecError(f"{folder} is not empty", hint="name a new folder")
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                for name, file in self.record.files.items():
                    with self._open(file) as source:
                        shutil.copyfile(source.path, Path(scratch) / name)
                Path(scratch).chmod(0o755)
                shutil.copytree(scratch, folder, dirs_exist_ok=True)
        except OSError as exc:
            raise StorageError(
                f"{folder} cannot be written: {exc.strerror}", hint="free space or change rights"
            ) from exc
        return folder

    @contextmanager
    def linked(self) -> Iterator[Path]:
        """A folder of links to the verified files, for programs of this machine that read them in place.

        No cache removes the files while the block runs. Raises IntegrityError when one of them is damaged.
        """
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="tw-model-")))
            for name, file in self.record.files.items():
                (folder / name).symlink_to(held.enter_context(self._open(file)).path.absolute())
            yield folder

    def verify(self) -> None:
        """Read every file where it is stored. Raises IntegrityError that names all that are wrong."""
        files = list(self.record.files.values())
        verify_files(StoreOrigin(self.store), files, what=f"model {self.reference}", or_raise=True)

    def _open(self, file: StoredFile) -> CachedFile:
        return default_cache().open(StoreOrigin(self.store), file, what=f"model {self.reference}")


@dataclass(frozen=True)
class Models:
    store: Store

    def names(self) -> list[str]:
        return sorted({item.key.split("/")[1] for item in self.store.list(FOLDER) if "/versions/" in item.key})

    def list(self) -> Iterator[ModelVersion]:
        """Every version of every model, oldest first by name."""
        for name in self.names():
            yield from self._log(name).all()

    def get(self, reference: str) -> Model:
        """`name@version`, `name@alias`, or the newest version of `name`. Raises NotFoundError with what there is."""
        wanted = Reference.parse(reference)
        numbers = self._log(wanted.name).numbers()
        if not numbers:
            known = did_you_mean(wanted.name, self.names())
            raise NotFoundError(f"no model named {wanted.name!r}{known}", hint="register one: tw models register RUN")
        version = wanted.version or (self._aliased(wanted) if wanted.alias else numbers[-1])
        if version not in numbers:
            raise NotFoundError(f"{wanted.name} has no version {version}", hint=f"the newest is {numbers[-1]}")
        return Model(self.store, self._log(wanted.name).read(version))

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | Path],
        *,
        parents: tuple[str, ...],
        family: str,
        parameters: int,
        context: int,
        heldout_loss: float | None,
        card: Mapping[str, Any],
    ) -> Model:
        """Store the files of a model and then the version that names them."""
        check_name(name)
        stored = {path: put_content(self.store, f"{FOLDER}/{name}/data", data) for path, data in files.items()}
        record = self._log(name).append(
            lambda version, writer: ModelVersion(
                name=name,
                version=version,
                writer=writer,
                parents=parents,
                family=family,
                parameters=parameters,
                context=context,
                heldout_loss=heldout_loss,
                files=stored,
                card=json.loads(json.dumps(dict(card))),
            )
        )
        return Model(self.store, record)

    def promote(self, reference: str, *, alias: str) -> AliasMove:
        """Let `name@alias` mean the version of a reference from now on."""
        check_alias(alias)
        record = self.get(reference).record
        return self._moves(record.name, alias).append(
            lambda move, writer: AliasMove(
                name=record.name, alias=alias, version=record.version, move=move, writer=writer, parents=(record.id,)
            )
        )

    def aliases(self, name: str) -> dict[str, int]:
        """What each alias of a model means now."""
        prefix = f"{FOLDER}/{name}/aliases"
        found = sorted({item.key.removeprefix(f"{prefix}/").split("/")[0] for item in self.store.list(prefix)})
        return {alias: self._moves(name, alias).latest().version for alias in found}

    def _aliased(self, wanted: Reference) -> int:
        aliases = self.aliases(wanted.name)
        if wanted.alias not in aliases:
            raise NotFoundError(
                f"{wanted.name} has no alias {wanted.alias!r}{did_you_mean(wanted.alias or '', aliases)}"
            )
        return aliases[wanted.alias]

    def _log(self, name: str) -> RecordLog[ModelVersion]:
        return RecordLog(self.store, f"{FOLDER}/{name}/versions", ModelVersion)

    def _moves(self, name: str, alias: str) -> RecordLog[AliasMove]:
        return RecordLog(self.store, f"{FOLDER}/{name}/aliases/{alias}", AliasMove)
