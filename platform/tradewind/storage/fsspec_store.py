"""Every other scheme that fsspec knows: `sftp://host/path`, `hdfs://…`, `smb://…`, and those of installed packages.

Host, port and user come from the URL; everything else, and all credentials, from fsspec's own places:
`~/.config/fsspec/*.json` and `FSSPEC_<PROTOCOL>_<OPTION>` in the environment.

Limits. Few of these file systems promise what object stores do. A `put` is written under another name and then renamed
where the file system can rename, so that it is seen whole. A `create` is an exclusive `open`, so that exactly one wins
where that is honoured (`probe.py` finds out), but a reader may see its first bytes before its last, and a writer that
dies in between leaves a short object. A listing is held in memory.
"""

from __future__ import annotations

import builtins
import errno
import importlib.util
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tradewind.errors import (
    AuthError,
    CapacityError,
    NotFoundError,
    SpecError,
    StorageError,
    TradewindError,
)
from tradewind.storage.address import parse_address
from tradewind.storage.fork import refuse_forked_child
from tradewind.storage.keys import check_key
from tradewind.storage.patience import with_patience
from tradewind.storage.redaction import redacted
from tradewind.storage.single_writer import is_single_writer, needs_one_writer
from tradewind.storage.store import ObjectInfo
from tradewind.storage.translation import exists_already

CHUNK = 8 * 2**20
UNFINISHED = ".tradewind-part"
"""How the names of files end that are not whole yet."""

EXCLUSIVE = {"fsspec.implementations.sftp": "wxb"}
"""How exclusive creation is asked for where it is not `xb`: paramiko would open the new file for nothing."""

TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
PASSING = {
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ETIMEDOUT,
    errno.EPIPE,
    errno.EAGAIN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}
HINT = "name the user alone, and leave passwords and keys to fsspec's configuration (~/.config/fsspec)"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_known(scheme: str) -> bool:
    """Whether fsspec has something for URLs of this scheme: ours is for datasets, which lie in a store themselves."""
    if scheme == "tradewind" or importlib.util.find_spec("fsspec") is None:
        return False
    from fsspec.registry import known_implementations, registry

    return scheme in known_implementations or scheme in registry


def open_store(url: str) -> FsspecStore:
    _parse(url)
    return FsspecStore(url.rstrip("/"))


@dataclass(frozen=True)
class FsspecStore:
    url: str

    def __reduce__(self) -> tuple[Any, ...]:
        return FsspecStore, (self.url,)

    def get(self, key: str) -> bytes:
        with self._translated(key):
            data: bytes = _tried(lambda: self._system.cat_file(self._path(key)))
            return bytes(data)

    def stream(self, key: str) -> Iterator[bytes]:
        with self._translated(key), self._system.open(self._path(key), "rb", block_size=CHUNK) as file:
            while piece := file.read(CHUNK):
                yield piece

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        num_bytes = self.head(key).num_bytes if ranges else 0
        if any(start < 0 or end > num_bytes or start > end for start, end in ranges):
            raise StorageError(f"{self.url}/{key} has no such range of bytes", hint="the object is too short")
        with self._translated(key):
            return [self._range(key, start, end) for start, end in ranges]

    def put(self, key: str, data: bytes | Path) -> None:
        if isinstance(data, Path) and not data.is_file():
            raise NotFoundError(f"there is no file {data} to store as {self.url}/{key}")
        with self._translated(key):
            _tried(lambda: self._put(self._path(key), data))

    def create(self, key: str, data: bytes) -> None:
        with self._translated(key):
            path = self._path(key)
            if is_single_writer():
                if self._system.exists(path):
                    raise FileExistsError(path)
                _tried(lambda: self._put(path, data))
            else:
                self._create(path, data)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            found = _tried(lambda: self._find(prefix))
        for path, detail in found.items():
            key = path[len(self._root) :].lstrip("/")
            below = key.startswith(f"{prefix.rstrip('/')}/") if prefix else True
            if below and key > (after or "") and not key.endswith(UNFINISHED):
                yield _info(key, detail)

    def folders(self, prefix: str) -> builtins.list[str]:
        with self._translated(prefix):
            found = _tried(lambda: self._entries(prefix))
            folders = [entry["name"].rstrip("/") for entry in found if entry["type"] == "directory"]
            return sorted(folder.rpartition("/")[2] for folder in folders if self._holds_a_file(folder))

    def head(self, key: str) -> ObjectInfo:
        with self._translated(key):
            self._system.invalidate_cache()
            detail = _tried(lambda: self._system.info(self._path(key)))
            if detail["type"] != "file":
                raise FileNotFoundError(key)
            return _info(key, detail)

    def delete(self, key: str) -> None:
        with suppress(NotFoundError), self._translated(key):
            if self._system.isfile(self._path(key)):
                self._system.rm_file(self._path(key))

    def local_path(self, key: str) -> Path | None:
        """These file systems are elsewhere."""
        check_key(key)
        return None

    @property
    def _system(self) -> Any:
        refuse_forked_child(self.url)
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path in it that the URL names."""
        import fsspec

        system, path = fsspec.core.url_to_fs(self.url, skip_instance_cache=True)
        if hasattr(system, "dircache"):
            system.dircache.use_listings_cache = False
        return system, str(path).rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")

    def _find(self, prefix: str) -> dict[str, Any]:
        self._system.invalidate_cache()
        try:
            found: dict[str, Any] = self._system.find(self._path(prefix), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return found

    def _entries(self, prefix: str) -> Sequence[dict[str, Any]]:
        self._system.invalidate_cache()
        try:
            found: Sequence[dict[str, Any]] = self._system.ls(self._path(prefix), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    def _holds_a_file(self, folder: str) -> bool:
        return any(files for _, _, files in self._system.walk(folder))

    def _range(self, key: str, start: int, end: int) -> bytes:
        data: bytes = (
            _tried(lambda: self._system.cat_file(self._path(key), start=start, end=end)) if end > start else b""
        )
        if len(data) != end - start:
            raise StorageError(f"{self.url}/{key} has no bytes {start} to {end}", hint="the object is too short")
        return bytes(data)

    def _create(self, path: str, data: bytes) -> None:
        self._make_folder(path)
        file = self._open_new(path)
        try:
            with file:
                file.write(data)
        except BaseException:
            # Where files are opened at once, this one is ours. Elsewhere the file of a faster writer may be there.
            if _renames(self._system):
                with suppress(Exception):
                    self._system.rm_file(path)
            raise

    def _open_new(self, path: str) -> Any:
        """A file that was not there. Raises FileExistsError, and SpecError where none can be asked for."""
        try:
            return self._system.open(path, EXCLUSIVE.get(type(self._system).__module__, "xb"))
        except (NotImplementedError, ValueError) as exc:
            raise needs_one_writer(self.url) from _shown(exc)
        except OSError as exc:
            # SFTP has no word for it and says `Failure`.
            if not _passes(exc) and exc.errno is None and self._system.exists(path):
                raise FileExistsError(path) from exc
            raise

    def _put(self, path: str, data: bytes | Path) -> None:
        if not _renames(self._system):
            self._write(path, data)
            return
        self._make_folder(path)
        unfinished = f"{path}.{uuid.uuid4().hex}{UNFINISHED}"
        try:
            self._write(unfinished, data)
            self._rename(unfinished, path)
        except BaseException:
            with suppress(Exception):
                self._system.rm_file(unfinished)
            raise

    def _write(self, path: str, data: bytes | Path) -> None:
        if isinstance(data, bytes):
            self._system.pipe_file(path, data)
            return
        with data.open("rb") as source, self._system.open(path, "wb", block_size=CHUNK) as target:
            shutil.copyfileobj(source, target, CHUNK)

    def _rename(self, source: str, target: str) -> None:
        """A file system that does not rename onto a file has none there for a moment."""
        try:
            self._system.mv(source, target)
        except OSError:
            if not self._system.exists(target) or not self._system.exists(source):
                raise
            self._system.rm_file(target)
            self._system.mv(source, target)

    def _make_folder(self, path: str) -> None:
        if _renames(self._system):
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        check_key(key)
        place = f"{self.url}/{key}"
        try:
            yield
        except TradewindError:
            raise
        except FileExistsError as exc:
            raise exists_already(place) from _shown(exc)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise NotFoundError(f"there is no {place}") from _shown(exc)
        except (NotImplementedError, ImportError, ValueError, TypeError) as exc:
            raise SpecError(
                f"{place} cannot be used: {_cause(exc)}", hint="install what this scheme needs, or use another store"
            ) from _shown(exc)
        except Exception as exc:  # noqa: BLE001 - any library may be behind a scheme, with errors of its own
            raise _storage_error(place, exc) from _shown(exc)


def _parse(url: str) -> None:
    if "://" not in url:
        raise SpecError(f"{url!r} is no URL of a folder", hint="write scheme://host/path")
    if url.partition("://")[2].startswith("/"):
        url = url.replace("://", "://localhost", 1)
    parse_address(url, what="host", hint=HINT, takes_user=True)


def _renames(system: Any) -> bool:
    """Object stores do not: for them fsspec copies and deletes, and their writes are whole by themselves."""
    from fsspec import AbstractFileSystem

    return type(system).mv is not AbstractFileSystem.mv


def _tried(work: Any) -> Any:
    return with_patience(work, passes=_passes)


def _passes(exc: BaseException) -> bool:
    return isinstance(exc, (TimeoutError, ConnectionError)) or (isinstance(exc, OSError) and exc.errno in PASSING)


def _info(key: str, detail: dict[str, Any]) -> ObjectInfo:
    info = ObjectInfo(key, int(detail.get("size") or 0))
    time = next((detail[name] for name in TIMES if detail.get(name) is not None), None)
    if isinstance(time, (int, float)):
        time = datetime.fromtimestamp(time, UTC)
    if isinstance(time, str):
        with suppress(ValueError):
            time = datetime.fromisoformat(time)
    if not isinstance(time, datetime):
        return info
    return replace(info, modified_at=time if time.tzinfo else time.replace(tzinfo=UTC))


def _storage_error(place: str, exc: Exception) -> TradewindError:
    number = exc.errno if isinstance(exc, OSError) else None
    if number in FULL:
        return CapacityError(f"no room left to write {place}", hint="free some space or choose another workspace")
    if isinstance(exc, PermissionError) or "Authentication" in type(exc).__name__ or number == errno.EROFS:
        return AuthError(f"{place} is refused: {_cause(exc)}", hint="check the credentials and their rights")
    return StorageError(f"{place} failed: {_cause(exc)}", hint="check that the store is reachable, then try again")


def _cause(exc: Exception) -> str:
    return redacted(" ".join(f"{type(exc).__name__}: {exc}".split()))[:300]


def _shown(exc: Exception) -> Exception | None:
    return exc if redacted(str(exc)) == str(exc) else None
