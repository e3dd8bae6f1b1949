"""A chip through the moments of a training step: what comes and goes, and when most is there."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tradewind.catalog.chip import BITS
from tradewind.planner.activations import BlockActivations, block_activations
from tradewind.planner.layout import Recompute, TrainingSetup
from tradewind.planner.memory import Memory, Moment
from tradewind.planner.stages import Share, Stage, share
from tradewind.planner.trainer import Trainer
from tradewind.planner.work import TrainingWork

FRAGMENTATION = 0.02
"""Of what is allocated on accelerators. Fitted: with it the runs in `tests/planner/test_fit.py` are met within 10 %."""
CONTEXT_BYTES = 1.0 * 2**30
"""CUDA's context, libraries and NCCL's buffers on each chip. Estimated."""
PROCESS_BYTES = 2.1 * 2**30
"""Python with torch, and Ray's own processes, on a machine without accelerators; measured."""
LOSS_CHUNKS = 8
TOKEN_BYTES = 16
"""A token's number and its target, 64 bits each."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What does not depend on the layout's sizes."""

    each: int
    """Bytes of an activation."""
    master: float
    """Bytes of a weight that the optimizer changes, of each of its moments and of a gradient."""
    autocast: bool
    """Whether copies of weights in 16 bits are kept, because each operation makes them."""
    dense: BlockActivations
    sparse: BlockActivations
    last_norm: int
    """Bytes for each token."""
    logits: float
    """Bytes for each token and word of the vocabulary."""


class _Moment(NamedTuple):
    name: Moment
    gradients: float
    activations: float = 0.0
    logits: float = 0.0
    gathered: float = 0.0
    communication: float = 0.0

    @property
    def total(self) -> float:
        return self.gradients + self.activations + self.logits + self.gathered + self.communication


def fullest_moment(work: TrainingWork, setup: TrainingSetup, trainer: Trainer, stage: Stage) -> Memory:
    """The memory of a chip of that stage when most of it is used."""
    mine = share(stage, setup.layout)
    terms = _terms(work, trainer, setup.recompute, sharded=mine.parts > 1)
    weights, optimizer = _weights(terms, setup, mine), 2 * mine.own * terms.master
    fullest = max(_moments(work, setup, trainer, stage, mine, terms), key=lambda moment: moment.total)
    allocated = weights + optimizer + fullest.total
    on_processors = trainer.kernels == "plain"
    return Memory(
        fullest.name,
        weights,
        optimizer,
        fullest.gradients,
        fullest.activations,
        fullest.logits,
        fullest.gathered,
        fullest.communication,
        fragmentation=0.0 if on_processors else FRAGMENTATION * allocated,
        framework=PROCESS_BYTES if on_processors else CONTEXT_BYTES,
    )


def _weights(terms: _Terms, setup: TrainingSetup, mine: Share) -> float:
    """Bytes of weights that stay: those that are changed and, where weights are not sharded and others are, a copy."""
    copied = setup.zero < 3 and mine.parts > 1
    whole = mine.whole if terms.master > terms.each else mine.whole - mine.own
    return mine.own * terms.master + (whole * terms.each if copied else 0.0)


def _moments(
    work: TrainingWork, setup: TrainingSetup, trainer: Trainer, stage: Stage, mine: Share, terms: _Terms
) -> Iterator[_Moment]:
    """What comes and goes, at each moment that can be the fullest."""
    layout = setup.layout
    tied = work.shape.tied and layout.pipeline == 1
    tokens = setup.micro_batch * work.tokens_per_sequence / layout.context
    local = tokens / layout.tensor
    kept = local * (stage.dense * terms.dense.kept + stage.sparse * terms.sparse.kept)
    kept = kept * min(stage.ahead, setup.micro_batches) + TOKEN_BYTES * tokens
    gathered, block_copy = _gathered(terms, setup, mine)
    sent = _communication(work, setup, mine, terms, tokens)
    gradients = terms.master * (mine.own if setup.zero >= 2 else mine.whole)
    head = terms.master * mine.head / mine.parts
    # FSDP makes gradients on a stream of its own, whose allocator cannot take what activations leave
    early = setup.micro_batches > 1 or (mine.parts > 1 and trainer.kernels != "plain")
    before = gradients if early else 0.0

    logits = tokens / layout.tensor * work.shape.vocabulary * terms.logits if stage.head else 0.0
    logits += mine.head * terms.each if trainer.loss == "chunked" else 0.0
    yield _Moment("loss", before, kept + (local * terms.last_norm if stage.head else 0.0), logits, gathered, sent)
    last, first = (terms.sparse if stage.sparse else terms.dense), (terms.dense if stage.dense else terms.sparse)
    opened = kept + local * (last.whole - last.kept + last.backward)
    yield _Moment("backward", max(before, head), opened, 0.0, max(gathered, block_copy), sent)
    done = gradients if early else gradients - terms.master * (mine.block + mine.embedding) / mine.parts
    yield _Moment("backward", done, local * (first.whole + first.backward), 0.0, block_copy, sent)
    largest = terms.master * max(mine.embedding, mine.head, work.shape.hidden * work.shape.ffn / layout.tensor)
    yield _Moment("backward", gradients + (largest if tied else 0.0), local * work.shape.hidden * terms.each)
    yield _Moment("update", gradients + (2 * largest / mine.parts if trainer.kernels == "plain" else 0.0))


def _gathered(terms: _Terms, setup: TrainingSetup, mine: Share) -> tuple[float, float]:
    """Bytes of weights in the form they are computed with: at the loss, and late in the backward pass."""
    if terms.autocast:  # copies are freed as the backward pass leaves a block, or with it where it is recomputed
        block = mine.block * terms.each
        return (mine.whole - mine.embedding) * terms.each, block
    if (mine.parts > 1 and setup.zero == 3) or (mine.parts == 1 and terms.master > terms.each):
        two = (2 * mine.block + mine.embedding + mine.head) * terms.each  # the block in use and the next one
        return two, two
    return 0.0, 0.0


def _communication(work: TrainingWork, setup: TrainingSetup, mine: Share, terms: _Terms, tokens: float) -> float:
    """Bytes of buffers: a block's gradients on their way, and activations that chips exchange."""
    layout, width = setup.layout, work.shape.hidden * terms.each
    gradients = mine.block * (terms.master + terms.each) if mine.parts > 1 and setup.zero >= 2 else 0.0
    activations = 2 * tokens * width if layout.tensor > 1 or layout.pipeline > 1 else 0.0
    if layout.expert > 1 and work.shape.experts:
        activations += 2 * work.shape.experts.active * width * tokens / layout.tensor
    return gradients + activations


@functools.cache
def _terms(work: TrainingWork, trainer: Trainer, recompute: Recompute, *, sharded: bool) -> _Terms:
    each, master = max(BITS[work.precision], 16) // 8, BITS[work.master] / 8
    autocast = master > each and trainer.casts == "operations" and not sharded
    sums = 4 if autocast else each
    dense, sparse = (
        block_activations(
            work.shape, trainer, recompute, each=each, sums=sums, fp8=work.precision == "fp8", experts=experts
        )
        for experts in (False, True)
    )
    norm = work.shape.hidden * (sums * (2 if trainer.kernels == "plain" else 1) + each)
    return _Terms(each, master, autocast, dense, sparse, norm, _loss_bytes(trainer, each))


def _loss_bytes(trainer: Trainer, each: int) -> float:
    """For each token and word, at the fullest: logits and derivative; where they are in float32, a third copy too."""
    if trainer.loss == "full":
        return 12.0
    return 2.0 * each / (LOSS_CHUNKS if trainer.loss == "chunked" else 1)
