"""The wish for a training run: model shape, data, batch, optimizer, how long, on how many workers."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, PositiveFloat, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name, Ref
from tradewind.specs.where import WhereSpec
from tradewind.units import Seconds


class LatentSpec(Block):
    """Multi-head latent attention, as in DeepSeek-V2."""

    query_rank: int | None = Field(
        default=None, ge=1, description="width of compressed queries; default not compressed"
    )
    rank: int = Field(ge=1, description="width of the compressed keys and values")
    rope_dim: int = Field(ge=2, multiple_of=2, description="part of a head that carries positions")
    plain_dim: int = Field(ge=1, description="part of a query or key head that does not")
    value_dim: int = Field(ge=1, description="width of a value head")


class ExpertsSpec(Block):
    """A mixture of experts in the place of the feed-forward."""

    routed: int = Field(ge=2, description="experts among which a router chooses")
    active: int = Field(ge=1, description="routed experts that one token visits")
    shared: int = Field(default=0, ge=0, description="experts that every token visits")
    ffn: int = Field(ge=1, description="width of one expert")
    dense_layers: int = Field(default=0, ge=0, description="first layers that keep a plain feed-forward")

    @model_validator(mode="after")
    def _visits_some(self) -> Self:
        if self.active > self.routed:
            raise ValueError(f"active {self.active} of routed {self.routed} experts cannot be visited")
        return self


class ModelSpec(Block):
    """The shape of a decoder: that of a known model, or sizes of one's own."""

    preset: str | None = Field(default=None, description="a known model; then no sizes are given but the vocabulary")
    vocabulary: int | None = Field(default=None, ge=1, description="tokens; default that of the dataset's tokenizer")
    family: str = "llama"
    hidden: int = Field(default=128, ge=8, description="width of the residual stream")
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1, description="query heads; divides hidden unless head_dim is given")
    kv_heads: int | None = Field(default=None, ge=1, description="key and value heads; divides heads; default heads")
    head_dim: int | None = Field(default=None, ge=2, multiple_of=2, description="default hidden / heads")
    ffn: int | None = Field(default=None, ge=8, description="width of the feed-forward; default 8/3 hidden, to 32s")
    tied: bool = Field(default=True, description="one matrix for the embedding and the output")
    latent: LatentSpec | None = None
    experts: ExpertsSpec | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if not (self.head_dim or self.latent) and (self.hidden % self.heads or (self.hidden // self.heads) % 2):
            raise ValueError(f"hidden {self.hidden} over heads {self.heads} must be an even head size")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        return self

    @model_validator(mode="after")
    def _preset_is_whole(self) -> Self:
        given = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        beside = [name for name in given if name not in ("preset", "vocabulary")]
        if self.preset and beside:
            raise ValueError(f"preset {self.preset!r} has its own {' and '.join(beside)}")
        return self


class BatchSpec(Block):
    """One optimizer step's data, over all workers together."""

    sequences: int = Field(default=16, ge=1, description="sequences in a global batch")
    tokens_per_sequence: int = Field(default=128, ge=2, description="context length")


class OrderSpec(Block):
    """In which order the data is read. Both belong to the order: a run that goes on keeps them."""

    window: int = Field(default=4, ge=1, description="shards shuffled together; more mixes better and needs more cache")
    lanes: int = Field(
        default=1, ge=1, le=4096, description="parts that nodes can share out among them, each reading its own shards"
    )


class OptimizerSpec(Block):
    """AdamW with linear warm-up and a linear decay to zero over the steps or the time, whichever is used up first."""

    learning_rate: float = Field(default=3e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient")


class TrainSpec(Spec):
    kind: ClassVar[str] = "train"

    name: Name
    dataset: Ref
    mix: dict[Ref, PositiveFloat] = Field(
        default={}, description="other datasets mixed in, with their weights beside the 1 of `dataset`"
    )
    model: ModelSpec = ModelSpec()
    batch: BatchSpec = BatchSpec()
    order: OrderSpec = OrderSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    max_steps: int = Field(default=1000, ge=1, description="optimizer steps, at most")
    max_time_s: Seconds | None = Field(default=None, gt=0, description="training time, at most, start-up left out")
    checkpoint_every_s: Seconds = Field(default=30.0, gt=0, description="training time between checkpoints")
    workers: int = Field(default=2, ge=1, description="processes; each holds one shard of the model")
    max_failures: int = Field(default=3, ge=0, description="lost workers to recover from before giving up")
    seed: int = Field(default=0, ge=0)
    where: WhereSpec = WhereSpec()

    @model_validator(mode="after")
    def _batch_feeds_workers(self) -> Self:
        if self.batch.sequences < self.workers:
            raise ValueError(
                f"batch.sequences {self.batch.sequences} leaves some of {self.workers} workers without work"
            )
        return self
