from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.corpus.documents import TextColumn
from tradewind.datasets.corpus.groups import EXPANSION, MOST_FILES, SHARDS, group_sources
from tradewind.datasets.corpus.sources import Part, Source

MOST = SHARDS * 4096


def source(name: str, size: int) -> Source:
    return Source(name, f"/raw/{name}", size, "")


@given(st.lists(st.tuples(st.sampled_from(["a.txt", "a.jsonl", "a.jsonl.gz"]), st.integers(1, 5 * MOST)), min_size=1))
def test_groups_hold_everything_once_and_are_of_about_one_size(files: list[tuple[str, int]]) -> None:
    sources = [source(name, size) for name, size in files]
    groups = group_sources(sources, shard_bytes=4096, content=TextColumn("text"))
    parts = [part for group in groups for part in group.parts]
    assert [group.number for group in groups] == list(range(len(groups)))
    for one in {part.source for part in parts}:
        cuts = [part for part in parts if part.source == one][
            : sum(part.source == one for part in parts) // sources.count(one)
        ]
        assert cuts[0].start == 0
        assert [cut.end for cut in cuts[:-1]] == [cut.start for cut in cuts[1:]]
        assert cuts[-1].end in (None, one.num_bytes)
    for group in groups:
        assert group.num_bytes <= MOST or len(group.parts) == 1
    for before, after in itertools.pairwise(groups):
        assert before.num_bytes + after.num_bytes > MOST


def test_files_that_cannot_be_cut_are_groups_of_their_own() -> None:
    size = 3 * MOST
    groups = group_sources(
        [source("a.txt", size), source("b.json.gz", size)], shard_bytes=4096, content=TextColumn("text")
    )
    assert [group.parts for group in groups] == [(Part(source("a.txt", size)),), (Part(source("b.json.gz", size)),)]
    assert [group.num_bytes for group in groups] == [size, EXPANSION["gzip"] * size]


def test_parquet_is_cut_between_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    nested = pa.array([{"deep": number} for number in range(40)])
    text = pa.array([f"{number}" * 2000 for number in range(40)])
    pq.write_table(pa.table({"meta": nested, "text": text}), path, row_group_size=4, compression="none")
    large = Source(path.name, str(path), path.stat().st_size, "")
    groups = group_sources([large], shard_bytes=4096, content=TextColumn("text"))
    cuts = [(part.start, part.end) for group in groups for part in group.parts]
    assert cuts[0][0] == 0
    assert cuts[-1][1] == 10
    assert [end for _, end in cuts[:-1]] == [start for start, _ in cuts[1:]]
    assert len(cuts) > 2
    assert all(group.num_bytes <= MOST for group in groups)


def test_group_has_not_too_many_files() -> None:
    groups = group_sources(
        [source(f"{number}.txt", 1) for number in range(MOST_FILES + 1)], shard_bytes=4096, content=TextColumn("text")
    )
    assert [len(group.parts) for group in groups] == [MOST_FILES, 1]
