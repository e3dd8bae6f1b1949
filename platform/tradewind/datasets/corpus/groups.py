"""Groups of input of about one size: what one task reads, and what is done again when it is lost.

Groups depend on the files and on the spec, never on how many tasks run. Large files of JSON lines and Parquet are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tradewind.datasets.corpus.documents import Content, open_table, told
from tradewind.datasets.corpus.sources import Part, Source

SHARDS = 8
"""Text of this many shards is a group. The last shard of each group is short, so fewer would make more short ones."""
MOST_FILES = 4096
EXPANSION = {"gzip": 4, "zstd": 4, "parquet": 3}
"""How much text is guessed in a compressed file, by its size. Only the size of groups depends on it."""


@dataclass(frozen=True)
class Group:
    number: int
    parts: tuple[Part, ...]
    num_bytes: int
    """Of text, as guessed from the files."""


def group_sources(sources: Sequence[Source], *, shard_bytes: int, content: Content) -> list[Group]:
    """The sources in their order, in groups of about `SHARDS` × `shard_bytes` of text."""
    return list(_groups(sources, SHARDS * shard_bytes, content))


def text_bytes(source: Source) -> int:
    """The text in a file, guessed from its size."""
    return source.num_bytes * EXPANSION.get(source.compression or source.format, 1)


def _groups(sources: Sequence[Source], most: int, content: Content) -> Iterator[Group]:
    number, held, size = 0, list[Part](), 0
    for part, num_bytes in (cut for source in sources for cut in _parts(source, most, content)):
        if held and (size + num_bytes > most or len(held) == MOST_FILES):
            yield Group(number, tuple(held), size)
            number, held, size = number + 1, [], 0
        held.append(part)
        size += num_bytes
    if held:
        yield Group(number, tuple(held), size)


def _parts(source: Source, most: int, content: Content) -> Iterator[tuple[Part, int]]:
    """A file, or the pieces of one that is larger than a group and can be cut."""
    if text_bytes(source) > most and source.format == "parquet":
        yield from _row_groups(source, most, content)
    elif text_bytes(source) > most and source.format == "lines" and not source.compression:
        for start in range(0, source.num_bytes, most):
            end = min(start + most, source.num_bytes)
            yield Part(source, start, end), end - start
    else:
        yield Part(source), text_bytes(source)


def _row_groups(source: Source, most: int, content: Content) -> Iterator[tuple[Part, int]]:
    with told(source), source.open() as file:
        table, columns = open_table(file, source, content)
        paths = [f"{table.schema.column(leaf).path}." for leaf in range(len(table.schema))]
        leaves = [leaf for leaf, path in enumerate(paths) if path.startswith(tuple(f"{name}." for name in columns))]
        row_groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
        sizes = [sum(one.column(leaf).total_uncompressed_size for leaf in leaves) for one in row_groups]
    start, size = 0, 0
    for group, num_bytes in enumerate(sizes):
        if size and size + num_bytes > most:
            yield Part(source, start, group), size
            start, size = group, 0
        size += num_bytes
    yield Part(source, start, len(sizes)), size
