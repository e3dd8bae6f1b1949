"""Every byte of a version against its checksums, read from its store in constant memory by several threads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tradewind import progress
from tradewind.errors import ArchivedError, IntegrityError, NotFoundError
from tradewind.records import StoredFile
from tradewind.storage import Store
from tradewind.storage.integrity import altered, archived, missing
from tradewind.units import format_bytes

AT_ONCE = 8


@dataclass(frozen=True)
class Verification:
    """How much was read, and what is wrong with each damaged file."""

    what: str
    num_files: int
    num_bytes: int
    damaged: tuple[IntegrityError, ...]

    def raise_if_damaged(self) -> None:
        """Raises IntegrityError that names every damaged file."""
        if len(self.damaged) == 1:
            raise self.damaged[0]
        if self.damaged:
            lines = "\n".join(f"  {one.message.removeprefix(self.what).lstrip(': ')}" for one in self.damaged)
            raise IntegrityError(
                f"{self.what}: {len(self.damaged)} of {self.num_files} files are damaged\n{lines}",
                hint=self.damaged[0].hint,
            )


def verify_files(
    store: Store,
    files: Sequence[StoredFile],
    *,
    what: str,
    damaged: Iterable[IntegrityError] = (),
    or_raise: bool = False,
) -> Verification:
    """Read files and check them. `damaged` is what is known to be wrong before; `or_raise` makes it an error."""
    found = list(damaged)
    with (
        progress.track(f"verify {what}", total=sum(file.num_bytes for file in files)) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for file, problem in zip(files, pool.map(lambda file: _problem(store, file, what), files), strict=True):
            found += [problem] if problem else []
            bar.advance(file.num_bytes, note=f"{len(found)} damaged" if found else "")
        done = Verification(what, len(files), sum(file.num_bytes for file in files), tuple(found))
        if or_raise:
            done.raise_if_damaged()
        bar.advance(0, note=f"{format_bytes(done.num_bytes)} in {len(files)} files, {len(found) or 'none'} damaged")
    return done


def _problem(store: Store, file: StoredFile, what: str) -> IntegrityError | None:
    try:
        _check(store, file, what)
    except IntegrityError as exc:
        return exc
    return None


def _check(store: Store, file: StoredFile, what: str) -> None:
    digest, length = hashlib.sha256(), 0
    try:
        for piece in store.stream(file.key):
            digest.update(piece)
            length += len(piece)
    except NotFoundError as exc:
        raise missing(file, what=what) from exc
    except ArchivedError as exc:
        raise archived(file, what=what) from exc
    if length != file.num_bytes:
        raise altered(file, f"has {length} bytes instead of {file.num_bytes}", what=what)
    if digest.hexdigest() != file.sha256:
        raise altered(file, f"has checksum {digest.hexdigest()[:12]}… instead of {file.sha256[:12]}…", what=what)
