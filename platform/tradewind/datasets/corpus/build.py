"""Text or conversations become the splits of a dataset version, in two passes over groups of input.

The first pass takes a digest of every document; then it is known which ones come again, which are held out and where
`max_bytes` ends, and each group can be encoded without the others. What a group becomes depends on the files and on the
spec alone, so the shards are the same bytes wherever and however often the work is done. Finished groups are recorded
at `datasets/NAME/building/…`; the same call after a loss of everything that ran does only those that are missing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from tradewind import progress
from tradewind.datasets.corpus import pipeline
from tradewind.datasets.corpus.encoding import SPLITS, TOKENIZER, Encoded, Encoding, Wanted
from tradewind.datasets.corpus.groups import Group, group_sources
from tradewind.datasets.corpus.heldout import heldout_bound
from tradewind.datasets.corpus.pipeline import Here, OnRay, Runner, Session, Where
from tradewind.datasets.corpus.recipe import Recipe, recipe
from tradewind.datasets.corpus.scratch import Scratch
from tradewind.datasets.corpus.selection import select
from tradewind.datasets.corpus.sources import Source, find_sources
from tradewind.datasets.corpus.stage import Stage, track
from tradewind.datasets.corpus.tokenizer_choice import ChosenTokenizer, sample
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.shards import FOLDER, list_shards
from tradewind.datasets.tokenizer import END_OF_TEXT, train_tokenizer
from tradewind.errors import ConflictError, SpecError
from tradewind.records import ChatRows, Split, TokenizerFile
from tradewind.specs import DatasetSpec
from tradewind.storage import Store, open_store
from tradewind.units import format_count

LAYOUT = 1
"""Part of the name of a build: raised when groups, digests or shards are made in another way."""

Connect = Callable[[], Session]


@dataclass(frozen=True)
class Corpus:
    """What a version is recorded with. `text_bytes` counts the documents kept, `duplicates` those that were not."""

    splits: dict[str, Split]
    tokenizer: TokenizerFile
    dtype: str
    chat: ChatRows | None
    text_bytes: int
    duplicates: int


def connected() -> Session:
    """The Ray that this process is connected to, left as it is afterwards. Raises SpecError without one."""
    import ray

    if not ray.is_initialized():
        raise SpecError("this process is not connected to Ray", hint="call ray.init() first, or use a Workspace")
    return ExitStack()


@contextmanager
def build(
    store: Store,
    spec: DatasetSpec,
    *,
    tokenizer_of: Dataset | None = None,
    on: Where | None = None,
    connect: Connect = connected,
    tasks: int | None = None,
) -> Iterator[Corpus]:
    """Write the shards of a spec. When the block ends well, how far the build was is forgotten.

    `tokenizer_of` is the dataset that the spec takes its tokenizer from. Raises NotFoundError when no file matches,
    SpecError for text that cannot be used, ConflictError for files that change meanwhile.
    """
    made = recipe(spec, tokenizer_of=tokenizer_of)
    sources = find_sources(made.wish)
    groups = group_sources(sources, shard_bytes=spec.shard_bytes, content=made.content)
    num_bytes = sum(group.num_bytes for group in groups)
    where = pipeline.choose(on, num_bytes)
    prefix = f"{FOLDER}/{spec.name}/building/{_identity(made, sources)}"
    if where == "ray" or num_bytes > pipeline.LOCAL_BYTES:
        scratch = Scratch(store, prefix)
        with _runner(where, connect, tasks) as runner:
            corpus = _written(store, made, Stage(scratch, runner), groups)
        try:
            yield corpus
        except ConflictError:  # the shards of a build that took too long may be gone; the next one makes them again
            scratch.clear()
            raise
        scratch.clear()
        scratch.clear_abandoned()
    else:
        scratch = Scratch(open_store(f"memory://{uuid.uuid4().hex}"), prefix)
        try:
            yield _written(store, made, Stage(scratch, Here()), groups)
        finally:
            scratch.clear()


def _written(store: Store, made: Recipe, stage: Stage, groups: Sequence[Group]) -> Corpus:
    """Both passes, and what they have made."""
    wanted = select(stage, made.wish, made.content, groups)
    bound = heldout_bound(
        made.spec.heldout_fraction,
        lowest=min(bytes.fromhex(one.scan.lowest) for one in wanted),
        highest=max(bytes.fromhex(one.scan.highest) for one in wanted),
    )
    tokenizer = made.given or _new_tokenizer(made, stage.scratch, wanted, bound)
    encoded = _encode(store, made, stage, wanted, bound, tokenizer)
    return Corpus(
        splits={name: _join(store, made.spec.name, [one.splits[name] for one in encoded]) for name in SPLITS},
        tokenizer=tokenizer.put(store, made.spec.name),
        dtype=made.dtype(tokenizer.vocabulary),
        chat=made.chat(encoded),
        text_bytes=sum(one.text_bytes for one in encoded),
        duplicates=sum(one.num_dropped for one in wanted),
    )


def _new_tokenizer(made: Recipe, scratch: Scratch, wanted: Sequence[Wanted], bound: bytes) -> ChosenTokenizer:
    """Trained once for a build: the one that is there is taken."""
    vocabulary = made.spec.tokenizer.vocabulary
    if not scratch.has(TOKENIZER):
        with progress.track("tokenizer") as bar:
            bar.advance(0, note=f"{format_count(vocabulary)} tokens")
            texts = sample(wanted, bound, content=made.content)
            scratch.finish(TOKENIZER, train_tokenizer(texts, vocabulary=vocabulary).to_str().encode())
    return ChosenTokenizer(scratch.read(TOKENIZER), END_OF_TEXT, vocabulary)


def _encode(
    store: Store, made: Recipe, stage: Stage, wanted: Sequence[Wanted], bound: bytes, tokenizer: ChosenTokenizer
) -> list[Encoded]:
    stage.scratch.finish(TOKENIZER, tokenizer.data)
    encoding = Encoding(
        store=store,
        name=made.spec.name,
        scratch=stage.scratch,
        content=made.content,
        form=made.form,
        shard_bytes=made.spec.shard_bytes,
        bound=bound,
    )
    with track("shards", wanted) as pace:
        return stage.finish(encoding, wanted, Encoded, pace)


def _join(store: Store, name: str, parts: Sequence[Split]) -> Split:
    """A split of the shards of all groups, in their order."""
    whole = list_shards(store, name, [shard for part in parts for shard in part.shards])
    return whole.model_copy(update={"documents": sum(part.documents for part in parts)})


@contextmanager
def _runner(where: Where, connect: Connect, tasks: int | None) -> Iterator[Runner]:
    if where == "local":
        yield Here()
    else:
        with closing(connect()):
            yield OnRay(tasks)


def _identity(made: Recipe, sources: Sequence[Source]) -> str:
    """A hash of everything that the shards depend on: a changed file or spec makes another build."""
    digest = hashlib.sha256(json.dumps([LAYOUT, made.spec.model_dump(mode="json")], sort_keys=True).encode())
    digest.update(made.given.data if made.given else b"")
    digest.update(repr(made.form).encode())
    for source in sources:
        digest.update(
            f"\0{source.name}\0{source.location}\0{source.num_bytes}\0{source.changed}".encode(errors="replace")
        )
    return digest.hexdigest()[:32]
