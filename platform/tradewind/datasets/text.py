"""Text files as documents: which files a spec means, in which order, and which of them are held out."""

from __future__ import annotations

import glob
import hashlib
import itertools
import math
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import TextSpec
from tradewind.units import format_bytes


@dataclass(frozen=True)
class Document:
    path: Path
    num_bytes: int


def find_documents(spec: TextSpec) -> list[Document]:
    """The files of a spec in an order that depends on their names alone, cut at `max_bytes`.

    Raises NotFoundError when no file matches, SpecError when `max_bytes` is less than the first one has.
    """
    paths = {path: name for pattern in spec.files for path, name in _matches(pattern, spec.exclude)}
    ordered = sorted(paths, key=lambda path: hashlib.sha256(paths[path].encode()).digest())
    documents = [Document(path, size) for path in ordered if (size := path.stat().st_size)]
    if not documents:
        raise NotFoundError(f"no text files match {', '.join(spec.files)}", hint="** crosses folders: /data/**/*.txt")
    kept = list(_within(documents, spec.max_bytes or math.inf))
    if not kept:
        limit, first = format_bytes(spec.max_bytes or 0), format_bytes(documents[0].num_bytes)
        raise SpecError(f"max_bytes of {limit} leaves no document, the first has {first}", hint="raise text.max_bytes")
    return kept


def split_heldout(documents: Sequence[Document], fraction: float) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents; at least one of each. Raises SpecError when there are fewer than two."""
    if len(documents) < 2:
        raise SpecError(
            "one document cannot be split into training and held-out text", hint="add more files, or raise max_bytes"
        )
    count = min(max(1, round(len(documents) * fraction)), len(documents) - 1)
    return list(documents[count:]), list(documents[:count])


def read_text(document: Document) -> str:
    """The text of a document. Raises SpecError when it is not UTF-8."""
    try:
        return document.path.read_bytes().decode()  # read_text would turn \r\n into \n
    except UnicodeDecodeError as exc:
        raise SpecError(f"{document.path} is not UTF-8 (byte {exc.start})", hint="convert it, or exclude it") from exc
    except OSError as exc:
        raise SpecError(
            f"{document.path} cannot be read: {exc.strerror}", hint="fix its rights, or exclude it"
        ) from exc


def _matches(pattern: str, exclude: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Files of one pattern with the name that orders them: the path below the pattern's fixed part."""
    root = sysconfig.get_path("stdlib")
    try:
        full = str(Path(pattern.format(stdlib=root)).expanduser())
    except (AttributeError, KeyError, IndexError, ValueError) as exc:
        raise SpecError(f"{pattern!r} holds an unknown variable", hint="only {stdlib} is known") from exc
    folders = itertools.takewhile(lambda part: not glob.has_magic(part), Path(full).parent.parts)
    base = Path(*folders)
    for found in sorted(glob.iglob(full, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute patterns
        path = Path(found)
        name = str(path.relative_to(base))
        if path.is_file() and not any(fnmatch(found if wrong[:1] == "/" else f"/{name}", wrong) for wrong in exclude):
            yield path.resolve(), name


def _within(documents: Sequence[Document], max_bytes: float) -> Iterator[Document]:
    used = 0
    for document in documents:
        used += document.num_bytes
        if used > max_bytes:
            return
        yield document
