"""Every byte of some files against their checksums, read from where they are stored, by several threads.

    verify_files(origin, files, *, what, damaged=(), or_raise=False) -> Verification

`what` names the owner of the files in errors: `dataset tides@1`, `model pilot@2`. Nothing is kept: the bytes neither
come from the cache of this machine nor go into it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tradewind import progress
from tradewind.errors import IntegrityError
from tradewind.records import StoredFile
from tradewind.storage.origin import Origin
from tradewind.units import format_bytes

AT_ONCE = 8
NOWHERE = Path(os.devnull)


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
    origin: Origin,
    files: Sequence[StoredFile],
    *,
    what: str,
    damaged: Iterable[IntegrityError] = (),
    or_raise: bool = False,
) -> Verification:
    """Read files and check them. `damaged` is what is known to be wrong before; `or_raise` makes it an error.

    Raises whatever else keeps a file from being read: ArchivedError, QuotaError, StorageError.
    """
    found = list(damaged)
    with (
        progress.track(f"verify {what}", total=sum(file.num_bytes for file in files)) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for file, problem in zip(files, pool.map(lambda file: _problem(origin, file, what), files), strict=True):
            found += [problem] if problem else []
            bar.advance(file.num_bytes, note=f"{len(found)} damaged" if found else "")
        done = Verification(what, len(files), sum(file.num_bytes for file in files), tuple(found))
        if or_raise:
            done.raise_if_damaged()
        bar.advance(0, note=f"{format_bytes(done.num_bytes)} in {len(files)} files, {len(found) or 'none'} damaged")
    return done


def _problem(origin: Origin, file: StoredFile, what: str) -> IntegrityError | None:
    try:
        origin.download(file, NOWHERE, what=what)
    except IntegrityError as exc:
        return exc
    return None
