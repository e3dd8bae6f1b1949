"""The datasets of a workspace: make a version, find one, tag it, list them, let old ones go.

A version comes to be in one way, `commit`: whatever it names is stored first, and its record, which makes it visible,
is written last and only if no other writer has taken its number.
"""

from __future__ import annotations

import builtins
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tradewind import progress
from tradewind.datasets import retention
from tradewind.datasets.blocks import Tokens, has_checksums, token_bytes
from tradewind.datasets.copies.catalog import open_origin
from tradewind.datasets.corpus.build import Connect, build, connected
from tradewind.datasets.corpus.imports import SHARD_BYTES, import_tokens
from tradewind.datasets.corpus.pipeline import Where
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.retention import Collected
from tradewind.datasets.shards import FOLDER, SUFFIXES, data_prefix, extend, list_shards
from tradewind.datasets.table import FILE_BYTES, ROW_GROUP_BYTES, add_rows, check_columns, columns_of, open_rows
from tradewind.errors import ConflictError, IntegrityError, NotFoundError, SpecError, did_you_mean
from tradewind.records import DatasetVersion, Removal, Shard, Split, TagMove, now
from tradewind.specs import DatasetSpec, Reference
from tradewind.specs.reference import check_alias, check_name
from tradewind.storage import RecordLog, Store

READ_AT_ONCE = 16
GRACE = timedelta(days=7)

MakeRecord = Callable[[int, str], DatasetVersion]
"""The record of a version from its number and a word that is unique to its writer. Called again after a lost race."""


@dataclass(frozen=True)
class Entry:
    """A version as a listing shows it. `record` is None where it cannot be read; then `problem` says why."""

    name: str
    version: int
    tags: tuple[str, ...] = ()
    removed_at: datetime | None = None
    record: DatasetVersion | None = None
    problem: IntegrityError | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Datasets:
    store: Store

    def names(self) -> list[str]:
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            names = self.store.folders(FOLDER)
            below = pool.map(lambda name: self.store.folders(f"{FOLDER}/{name}"), names)
            return [name for name, folders in zip(names, below, strict=True) if "versions" in folders]

    def list(self) -> Iterator[DatasetVersion]:
        """Every version of every dataset, oldest first by name. One whose record is damaged is named and left out."""
        for entry in self.entries():
            if entry.record:
                yield entry.record
            elif entry.problem:
                progress.print_line(f"{entry.reference} is left out: {entry.problem.message}")

    def entries(self, name: str | None = None, *, removed: bool = False) -> Iterator[Entry]:
        """The versions of a dataset, or of all, oldest first by name, each with its tags or with what is wrong."""
        if name:
            self._numbers(check_name(name))
        for one in [name] if name else self.names():
            tags = self._tags_that_can_be_read(one)
            gone = retention.read_removals(self.store, one)
            hidden = () if removed else {number for number, why in gone.items() if isinstance(why, Removal)}
            numbers = [number for number in self._log(one).numbers() if number not in hidden]
            with ThreadPoolExecutor(READ_AT_ONCE) as pool:
                read = pool.map(lambda number, one=one: self._read(one, number), numbers)
                for number, found in zip(numbers, read, strict=True):
                    yield _entry(one, number, found, gone.get(number), tags)

    def get(self, reference: str, *, at: datetime | None = None) -> Dataset:
        """Open `name@version`, `name@tag`, or the newest version of `name`; with `at` what that meant then.

        Raises NotFoundError with what there is, or with how to take a removed version back.
        """
        wanted = Reference.parse(reference)
        if at and (wanted.version or at.tzinfo is None):
            raise SpecError(
                f"{reference!r} at {at}", hint="give a name or a tag, and a time with a time zone: datetime.now(UTC)"
            )
        is_newest = not (wanted.version or wanted.alias or at)
        if is_newest:
            version = self._numbers(wanted.name)[-1]
        else:
            version = wanted.version or (self._tagged(wanted, at) if wanted.alias else self._newest(wanted.name, at))
        with ThreadPoolExecutor(3) as pool:  # each of the three waits for the store
            removal = pool.submit(retention.removal, self.store, wanted.name, version)
            record = pool.submit(self._record, wanted.name, version)
            origin = pool.submit(open_origin, self.store, wanted.name, version)
        gone = removal.result()
        if not gone:
            return Dataset(self.store, record.result(), origin.result())
        if is_newest:
            return self.get(f"{wanted.name}@{self._newest(wanted.name)}")
        raise NotFoundError(
            f"{wanted.name}@{version} was removed on {gone.created_at:%Y-%m-%d at %H:%M} UTC",
            hint=f"take it back while its files are there: tw datasets restore {wanted.name}@{version}",
        )

    def commit(self, name: str, make: MakeRecord, *, new: Sequence[Shard] | None = None) -> Dataset:
        """Make a version visible, after everything that its record names was stored: the one way that versions come.

        `new` are the shards that no version has named before; without it all of them are taken to be new. Raises
        ConflictError when other writers were faster many times, or when the files were too old and are gone.
        """
        check_name(name)
        record = self._log(name).append(make)
        lost = retention.lost_files(self.store, record, only=new)
        if lost:
            retention.remove(self.store, name, record.version)
            raise ConflictError(
                f"{len(lost)} files of {name}@{record.version} were deleted as unused while it was made",
                hint="make it again; let `tw datasets gc` have a --grace that is longer than this work takes",
            )
        return Dataset(self.store, record, open_origin(self.store, name, record.version))

    def append(
        self,
        name: str,
        shards: Mapping[str, Sequence[Shard]],
        *,
        documents: Mapping[str, int] | None = None,
        text_bytes: int = 0,
        parents: tuple[str, ...] = (),
        check: Callable[[DatasetVersion], None] | None = None,
    ) -> Dataset:
        """Stored shards behind those of the newest version, as the next one; appends at the same time all count.

        `check` is given the version that is appended to, and raises when the shards do not go with it.
        """
        counts = documents or {}

        def make(version: int, writer: str) -> DatasetVersion:
            base = self._before(name, version)
            _check_shards(base, [shard for some in shards.values() for shard in some])
            if check:
                check(base)
            grown = {
                split: extend(self.store, name, base.splits.get(split, Split()), some, documents=counts.get(split, 0))
                for split, some in shards.items()
            }
            changes: dict[str, Any] = {
                "version": version,
                "writer": writer,
                "created_at": now(),
                "parents": (base.id, *parents),
                "splits": {**base.splits, **grown},
                "text_bytes": base.text_bytes + text_bytes,
            }
            return base.model_copy(update=changes)

        return self.commit(name, make, new=[shard for some in shards.values() for shard in some])

    def add_tokens(
        self,
        name: str,
        splits: Mapping[str, Iterable[Tokens]],
        *,
        shard_bytes: int = SHARD_BYTES,
        tokenizer: str | Path | None = None,
        end_of_text: str | None = None,
        parents: tuple[str, ...] = (),
    ) -> Dataset:
        """Ids that there are already as the next version: `{"train": arrays of uint16 or uint32}`, in constant memory.

        `tokenizer` is the `tokenizer.json` they are of. Raises SpecError for arrays that do not go together.
        """
        made = import_tokens(
            self.store, check_name(name), splits, shard_bytes=shard_bytes, tokenizer=tokenizer, end_of_text=end_of_text
        )
        return self.commit(
            name,
            lambda version, writer: DatasetVersion(
                name=name,
                version=version,
                writer=writer,
                parents=parents,
                dtype=made.dtype,
                splits=made.splits,
                tokenizer=made.tokenizer,
                spec={},
            ),
        )

    def add_table(
        self,
        name: str,
        data: Any,
        *,
        split: str = "train",
        parents: tuple[str, ...] = (),
        spec: Mapping[str, Any] | None = None,
        file_bytes: int = FILE_BYTES,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> Dataset:
        """Rows as the next version of a dataset, in constant memory.

        `data` is an Arrow table, a reader or iterable of record batches, a pandas frame, or paths and patterns of
        Parquet, CSV and JSON lines files. A mapping gives several splits. Raises SpecError for what cannot be read.
        Parquet files are cut at about `file_bytes`; `row_group_bytes` of rows in memory are read at a time.
        """
        check_name(name)
        schema, sources = open_rows(data, split=split)
        shards = {
            one: add_rows(
                self.store, name, one, schema, batches, file_bytes=file_bytes, row_group_bytes=row_group_bytes
            )
            for one, batches in sources.items()
        }
        splits = {one: list_shards(self.store, name, some) for one, some in shards.items()}
        return self.commit(
            name,
            lambda version, writer: DatasetVersion(
                name=name,
                version=version,
                writer=writer,
                format="table",
                parents=parents,
                splits=splits,
                columns=columns_of(schema),
                spec=dict(spec or {}),
            ),
        )

    def append_table(self, name: str, data: Any, *, split: str = "train", parents: tuple[str, ...] = ()) -> Dataset:
        """Rows behind those of the newest version. Raises SpecError when columns or their types differ."""
        base = self.get(check_name(name)).record
        schema, sources = open_rows(data, split=split, like=base)
        shards = {one: add_rows(self.store, name, one, schema, batches) for one, batches in sources.items()}
        return self.append(name, shards, parents=parents, check=lambda newest: check_columns(newest, schema))

    def tag(self, reference: str, tag: str) -> TagMove:
        """Let `name@tag` mean the version of a reference from now on. What it meant before stays in its history."""
        check_alias(tag)
        record = self.get(reference).record
        move = self._moves(record.name, tag).append(
            lambda move, writer: TagMove(
                name=record.name, tag=tag, version=record.version, move=move, writer=writer, parents=(record.id,)
            )
        )
        if retention.removal(self.store, record.name, record.version):  # by a gc that did not know of the tag yet
            retention.restore(self.store, record)
        return move

    def tags(self, name: str) -> dict[str, int]:
        """What each tag of a dataset means now."""
        tags = self.store.folders(f"{FOLDER}/{name}/tags")
        return {tag: self._moves(name, tag).latest().version for tag in tags}

    def gc(
        self,
        name: str,
        *,
        keep: int,
        grace: timedelta = GRACE,
        dry_run: bool = False,
        in_use: Callable[[], Collection[str]] = tuple,
    ) -> Collected:
        """Remove all versions but the newest `keep`, the tagged ones and those in use, and delete unused files.

        `in_use` gives ids of records (`dataset:name@1`). A removed version can be taken back for the grace period, and
        its files are deleted by the first call after it. Nobody may take longer than that to make a version.
        """
        self._newest(check_name(name))

        def held() -> dict[int, str]:
            used = (one.partition("@") for one in in_use() if one.startswith(f"{DatasetVersion.kind}:{name}@"))
            tagged = {version: f"tagged {tag}" for tag, version in self.tags(name).items()}
            return {**{int(version): "in use" for _, _, version in used}, **tagged}

        return retention.collect(self.store, name, keep=keep, grace=grace, held=held, dry_run=dry_run)

    def restore(self, reference: str) -> Dataset:
        """Take a removed version back. Raises IntegrityError with what is missing when its files are not all there."""
        wanted = Reference.parse(reference)
        if wanted.version is None:
            raise SpecError(f"{reference!r} names no version", hint=f"write one, like {wanted.name}@1")
        record = self._record(wanted.name, wanted.version)
        if retention.removal(self.store, wanted.name, wanted.version):
            retention.restore(self.store, record)
        return Dataset(self.store, record, open_origin(self.store, record.name, record.version))

    def add(
        self, spec: DatasetSpec, *, on: Where | None = None, connect: Connect = connected, tasks: int | None = None
    ) -> Dataset:
        """Read text, conversations or a table, make shards, and last the version that makes them visible.

        `on` says where the work is done; without it that depends on its size. A call that is cut short leaves no
        version behind; the same call again goes on where it was.
        """
        if spec.table is not None:
            wish = spec.table
            return Datasets.add_table(  # a workspace counts each of the two calls as work of its own
                self,
                spec.name,
                dict(wish.splits),
                spec=spec.model_dump(mode="json"),
                file_bytes=wish.file_bytes,
                row_group_bytes=wish.row_group_bytes,
            )
        taken = spec.tokenizer.from_
        source = self.get(taken) if taken else None
        with build(self.store, spec, tokenizer_of=source, on=on, connect=connect, tasks=tasks) as corpus:
            return self.commit(
                spec.name,
                lambda version, writer: DatasetVersion.model_validate(
                    {
                        "name": spec.name,
                        "version": version,
                        "writer": writer,
                        "parents": (source.record.id,) if source else (),
                        "dtype": corpus.dtype,
                        "splits": corpus.splits,
                        "tokenizer": corpus.tokenizer,
                        "chat": corpus.chat,
                        "text_bytes": corpus.text_bytes,
                        "duplicates": corpus.duplicates,
                        "spec": spec.model_dump(mode="json"),
                    }
                ),
            )

    def _record(self, name: str, version: int) -> DatasetVersion:
        try:
            return self._log(name).read(version)
        except NotFoundError as exc:
            newest = self._newest(name)
            raise NotFoundError(f"{name} has no version {version}", hint=f"the newest is {newest}") from exc

    def _read(self, name: str, version: int) -> DatasetVersion | IntegrityError:
        try:
            return self._log(name).read(version)
        except IntegrityError as exc:
            return exc

    def _tags_that_can_be_read(self, name: str) -> dict[int, tuple[str, ...]]:
        """The tags of each version. A damaged one is named and left out: the listing goes on."""
        found: dict[int, tuple[str, ...]] = {}
        for tag in self.store.folders(f"{FOLDER}/{name}/tags"):
            try:
                version = self._moves(name, tag).latest().version
                found[version] = (*found.get(version, ()), tag)
            except IntegrityError as exc:
                progress.print_line(f"{name}@{tag} is left out: {exc.message}")
        return found

    def _numbers(self, name: str) -> builtins.list[int]:
        numbers = self._log(name).numbers()
        if not numbers:
            raise NotFoundError(
                f"no dataset named {name!r}{did_you_mean(name, self.names())}", hint="make it: tw datasets add SPEC"
            )
        return numbers

    def _newest(self, name: str, at: datetime | None = None) -> int:
        """The newest version that is not removed; with `at` the newest one then."""
        numbers = self._numbers(name)
        if at:
            return self._last_before(self._log(name), at, what=name)
        for number in reversed(numbers):
            if not retention.removal(self.store, name, number):
                return number
        raise NotFoundError(
            f"all versions of {name} were removed", hint=f"see tw datasets restore {name}@{numbers[-1]}"
        )

    def _tagged(self, wanted: Reference, at: datetime | None) -> int:
        tag = wanted.alias or ""
        moves = self._moves(wanted.name, tag)
        if not moves.numbers():
            self._newest(wanted.name)
            known = self.tags(wanted.name)
            raise NotFoundError(
                f"{wanted.name} has no tag {tag!r}{did_you_mean(tag, known)}",
                hint=f"set it: tw datasets tag {wanted.name}@1 {tag}",
            )
        if not at:
            return moves.latest().version
        return moves.read(self._last_before(moves, at, what=str(wanted))).version

    @staticmethod
    def _last_before(log: RecordLog[Any], at: datetime, *, what: str) -> int:
        """The number of the last record that was there at a time, found in a few reads."""
        numbers = log.numbers()
        there = bisect_right(numbers, at, key=lambda number: log.read(number).created_at)
        if not there:
            raise NotFoundError(f"there was no {what} on {at:%Y-%m-%d at %H:%M}", hint="name a later time")
        return numbers[there - 1]

    def _before(self, name: str, version: int) -> DatasetVersion:
        """What a new version grows from: the newest below its number that is not removed."""
        for number in range(version - 1, 0, -1):
            if not retention.removal(self.store, name, number):
                return self._log(name).read(number)
        raise NotFoundError(
            f"there is no version of {name} to append to{did_you_mean(name, self.names())}", hint="add one first"
        )

    def _log(self, name: str) -> RecordLog[DatasetVersion]:
        return retention.version_log(self.store, name)

    def _moves(self, name: str, tag: str) -> RecordLog[TagMove]:
        return RecordLog(self.store, f"{FOLDER}/{name}/tags/{tag}", TagMove)


def _entry(
    name: str,
    version: int,
    read: DatasetVersion | IntegrityError,
    gone: Removal | IntegrityError | None,
    tags: Mapping[int, tuple[str, ...]],
) -> Entry:
    problem = next((one for one in (read, gone) if isinstance(one, IntegrityError)), None)
    return Entry(
        name,
        version,
        tags.get(version, ()),
        removed_at=gone.created_at if isinstance(gone, Removal) else None,
        record=None if problem or isinstance(read, IntegrityError) else read,
        problem=problem,
    )


def _check_shards(base: DatasetVersion, shards: Iterable[Shard]) -> None:
    """A list of shards keeps their checksums and lengths alone, so their keys must follow from those."""
    if base.chat:
        raise SpecError(
            f"{base.name}@{base.version} holds conversations, and what their rows hold is counted when they are made",
            hint="add the files to its spec, and make the next version of all of them",
        )
    prefix, suffix = data_prefix(base.name), SUFFIXES[base.format]
    for shard in shards:
        if shard.key != f"{prefix}/{shard.sha256[:2]}/{shard.sha256}{suffix}":
            raise SpecError(
                f"{shard.key} is no file of the {base.format} of {base.name}@{base.version}",
                hint=f"store it below {prefix}, as the versions before it",
            )
        dtype = np.dtype(base.dtype) if base.dtype else None
        if dtype and not (has_checksums(shard, dtype) or shard.num_bytes == token_bytes(shard, dtype)):
            raise SpecError(
                f"{shard.key} does not hold {shard.tokens} tokens of {base.dtype}, as {base.name}@{base.version} does",
                hint="encode it with the tokenizer of that version",
            )
