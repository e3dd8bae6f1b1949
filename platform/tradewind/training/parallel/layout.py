"""How many ways a run is cut along each axis, and what cannot be cut so. Numbers only: no torch, no process group.

    axis        cuts                                    source
    pipeline    the layers into stages                  Narayanan et al. 2021 (Megatron-LM), section 2.2
    replicate   nothing: whole copies of the shards     Zhao et al. 2023 (PyTorch FSDP), section 3.2.2, hybrid sharding
    shard       weights, gradients, optimizer states    Rajbhandari et al. 2020 (ZeRO), section 5
    context     the tokens of each sequence             Grattafiori et al. 2024 (Llama 3), section 3.3.2
    tensor      each matrix, and tokens between them    Korthikanti et al. 2022, section 4.2
    expert      routed experts, over ranks of shard × context and all of tensor, so it takes no ranks of its own

Ranks count with `tensor` innermost and `pipeline` outermost: neighbours speak most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self

from tradewind.errors import SpecError
from tradewind.families import ModelShape

Zero = Literal[0, 1, 2, 3]
Schedule = Literal["1f1b", "interleaved"]


@dataclass(frozen=True)
class Layout:
    """Sizes of all axes, which multiply to the number of ranks (`expert` lies inside shard × context)."""

    replicate: int = 1
    shard: int = 1
    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    context: int = 1
    zero: Zero = 3
    """0: every rank keeps whole weights. 1: gradients are reduced once a step, weights kept over it. 2: gradients are
    reduced in every pass, weights kept from forward to backward. 3: weights are gathered again for the backward."""
    schedule: Schedule = "1f1b"
    microbatches: int = 1
    """Parts of a pass that go through the pipeline one after the other."""

    @classmethod
    def of(
        cls,
        world: int,
        *,
        shape: ModelShape | None = None,
        tokens_per_sequence: int | None = None,
        sequences: int | None = None,
        replicate: int = 1,
        shard: int | None = None,
        tensor: int = 1,
        pipeline: int = 1,
        expert: int = 1,
        context: int = 1,
        zero: Zero = 3,
        schedule: Schedule = "1f1b",
        microbatches: int | None = None,
    ) -> Self:
        """The layout of `world` ranks; `shard` takes what the other axes leave, with zero 0 `replicate` does.

        `sequences` are those of one pass over all ranks. What is not given is not checked. Without `microbatches` a
        pipeline gets one sequence in each, or twice its stages where `sequences` is not known. Raises SpecError.
        """
        _positive(replicate=replicate, shard=shard, tensor=tensor, pipeline=pipeline, expert=expert, context=context)
        if zero == 0 and (shard or 1) > 1:
            raise SpecError(
                f"shard {shard} with zero 0, which keeps whole weights everywhere",
                hint=f"write replicate: {shard}, or zero: 1",
            )
        rest = _rest(world, replicate=replicate, shard=shard, tensor=tensor, pipeline=pipeline, context=context)
        shard = shard or 1
        if zero == 0:
            replicate *= rest
        else:
            shard *= rest
        layout = cls(
            replicate=replicate,
            shard=shard,
            tensor=tensor,
            pipeline=pipeline,
            expert=expert,
            context=context,
            zero=zero,
            schedule=schedule,
            microbatches=1,
        )
        layout = layout._with_microbatches(microbatches, sequences)
        layout._check_expert(shape)
        layout._check_batch(sequences)
        if tokens_per_sequence is not None:
            layout._check_tokens(tokens_per_sequence)
        if shape is not None:
            layout._check_shape(shape)
        return layout

    @property
    def world(self) -> int:
        return self.pipeline * self.replicate * self.shard * self.context * self.tensor

    @property
    def data_world(self) -> int:
        """Parts of a global batch. Ranks that differ only in pipeline, context or tensor read the same sequences."""
        return self.replicate * self.shard

    def data_rank(self, place: int) -> int:
        """Which part the rank at that place reads."""
        return place // (self.context * self.tensor) % self.data_world

    @property
    def expert_ranks(self) -> int:
        """Ranks that share out the routed experts among them: each has other tokens, those of `tensor` included."""
        return self.expert * self.tensor

    @property
    def stages_per_rank(self) -> int:
        """Two with the interleaved schedule: fewer idle moments, twice the messages (Megatron-LM, section 2.2)."""
        return 2 if self.schedule == "interleaved" else 1

    @property
    def stages(self) -> int:
        return self.pipeline * self.stages_per_rank

    def __str__(self) -> str:
        sizes = {
            name: getattr(self, name) for name in ("pipeline", "replicate", "shard", "context", "tensor", "expert")
        }
        cut = " × ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "one rank"
        return f"{cut}, zero {self.zero}" + (f", {self.microbatches} microbatches" if self.pipeline > 1 else "")

    def _with_microbatches(self, wish: int | None, sequences: int | None) -> Self:
        each = None if sequences is None or sequences % self.data_world else sequences // self.data_world
        if self.pipeline == 1:
            if self.schedule == "interleaved":
                raise SpecError("schedule interleaved with pipeline 1", hint="write pipeline: 2 or more, or 1f1b")
            if wish not in (None, 1):
                raise SpecError(f"microbatches {wish} with pipeline 1", hint="use batch.sequences_per_pass instead")
            return replace(self, microbatches=1)
        return replace(self, microbatches=wish or each or 2 * self.pipeline)

    def _check_expert(self, shape: ModelShape | None) -> None:
        inside = self.shard * self.context
        if inside % self.expert:
            raise SpecError(
                f"expert {self.expert} does not divide shard {self.shard} × context {self.context}, over which it lies",
                hint=_nearest("expert", self.expert, _divisors(inside)),
            )
        if shape is None:
            return
        if shape.experts is None and self.expert > 1:
            raise SpecError(f"expert {self.expert}, and the model has no experts", hint="write expert: 1")
        if shape.experts and shape.experts.routed % self.expert_ranks:
            works = [size for size in _divisors(inside) if shape.experts.routed % (size * self.tensor) == 0]
            raise SpecError(
                f"expert {self.expert} × tensor {self.tensor} does not divide {shape.experts.routed} routed experts",
                hint=_nearest("expert", self.expert, works) if works else "write another tensor",
            )

    def _check_batch(self, sequences: int | None) -> None:
        if self.pipeline == 1:
            return
        if sequences is not None and sequences % self.data_world:
            raise SpecError(
                f"{sequences} sequences in a pass over replicate {self.replicate} × shard {self.shard} pipelines",
                hint=_nearest("batch.sequences", sequences, _multiples(self.data_world, sequences)),
            )
        each = None if sequences is None else sequences // self.data_world
        works = [count for count in range(1, (each or 16 * self.stages) + 1) if self._takes(count, each)]
        if self.microbatches not in works:
            raise SpecError(
                f"{self.microbatches} microbatches in a {self.schedule} pipeline of {self.stages} stages"
                + ("" if each is None else f", with {each} sequences for each rank"),
                hint=_nearest("microbatches", self.microbatches, works)
                if works
                else f"use at least {self.stages * self.data_world} sequences in a pass, or fewer stages",
            )

    def _takes(self, microbatches: int, each: int | None) -> bool:
        """Whether the schedule can run so many: 1F1B at least one for each stage, interleaved whole rounds of ranks."""
        if each is not None and each % microbatches:
            return False
        if self.schedule == "interleaved":
            return microbatches % self.pipeline == 0
        return microbatches >= self.pipeline

    def _check_tokens(self, tokens: int) -> None:
        unit = self.tensor * (2 * self.context if self.context > 1 else 1)
        if tokens % unit:
            raise SpecError(
                f"{tokens} tokens in a sequence over context {self.context} × tensor {self.tensor}"
                + (", where each rank holds an early and a late part" if self.context > 1 else ""),
                hint=_nearest("batch.tokens_per_sequence", tokens, _multiples(unit, tokens)),
            )

    def _check_shape(self, shape: ModelShape) -> None:
        self._check_tensor(shape)
        if self.stages > shape.layers:
            raise SpecError(
                f"{self.stages} stages ({self.schedule}, pipeline {self.pipeline}) for {shape.layers} layers",
                hint=f"write pipeline: {max(1, shape.layers // self.stages_per_rank)} or less",
            )
        if self.pipeline > 1 and shape.tied:
            raise SpecError(
                f"pipeline {self.pipeline} puts embedding and output on different ranks, and the model ties them",
                hint="write tied: false, or pipeline: 1",
            )

    def _check_tensor(self, shape: ModelShape) -> None:
        sizes = {"heads": shape.heads, "kv_heads": shape.kv_heads, "ffn": shape.ffn, "vocabulary": shape.vocabulary}
        common = math.gcd(*sizes.values())
        for name, size in sizes.items():
            if size % self.tensor:
                raise SpecError(
                    f"tensor {self.tensor} does not divide {name} {size}",
                    hint=_nearest("tensor", self.tensor, _divisors(common)),
                )


def _positive(**sizes: int | None) -> None:
    for axis, size in sizes.items():
        if size is not None and size < 1:
            raise SpecError(f"{axis} {size} is no number of parts", hint=f"write {axis}: 1")


def _rest(world: int, **sizes: int | None) -> int:
    """What the axes leave of the ranks: 1 where `shard` is given."""
    taken = math.prod(size or 1 for size in sizes.values())
    axes = " × ".join(f"{axis} {size}" for axis, size in sizes.items() if size and (size > 1 or axis == "shard")) or "1"
    if sizes["shard"] is not None and taken != world:
        others = taken // sizes["shard"]
        hint = f"write shard: {world // others}" if world % others == 0 else f"use {taken} ranks"
        raise SpecError(f"{axes} are {taken} ranks, and there are {world}", hint=hint)
    if world % taken:
        works = _multiples(taken, world) if world >= taken else [taken]
        raise SpecError(
            f"{axes} are {taken} ranks, which do not divide the {world} there are",
            hint=_nearest("workers", world, works),
        )
    return world // taken


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _multiples(unit: int, around: int) -> list[int]:
    return [size for size in (around // unit * unit, (around // unit + 1) * unit) if size]


def _nearest(name: str, wrong: int, works: Iterable[int]) -> str:
    return f"write {name}: {min(works, key=lambda size: (abs(size - wrong), size))}"
