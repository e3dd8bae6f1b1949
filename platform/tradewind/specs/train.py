"""The wish for a training run: model shape, data, batch, optimizer, how long, on how many workers."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, PositiveFloat, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name, Ref
from tradewind.units import Seconds


class ModelSpec(Block):
    """The shape of a decoder. The vocabulary comes from the dataset's tokenizer."""

    family: str = "llama"
    hidden: int = Field(default=128, ge=8, description="width of the residual stream")
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1, description="query heads; divides hidden")
    kv_heads: int | None = Field(default=None, ge=1, description="key and value heads; divides heads; default heads")
    ffn: int | None = Field(default=None, ge=8, description="width of the feed-forward; default 8/3 hidden, to 32s")
    tied: bool = Field(default=True, description="one matrix for the embedding and the output")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden {self.hidden} over heads {self.heads} must be an even head size")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
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

    @model_validator(mode="after")
    def _batch_feeds_workers(self) -> Self:
        if self.batch.sequences < self.workers:
            raise ValueError(
                f"batch.sequences {self.batch.sequences} leaves some of {self.workers} workers without work"
            )
        return self
