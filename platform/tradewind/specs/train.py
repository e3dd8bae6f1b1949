"""The wish for a training run: model shape, data, batch, optimizer, how long, on how many workers."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

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
    sequences_per_pass: int | None = Field(
        default=None, ge=1, description="sequences that a worker computes at once; default all of its part"
    )
    separate_documents: bool | None = Field(
        default=None, description="whether a token sees only its own document; default for conversations alone"
    )


class ParallelSpec(Block):
    """How the model is divided among the workers. The product of the axes is the number of workers.

    `expert` divides the workers of `shard` once more, so it is not a part of that product.
    """

    replicate: int = Field(default=1, ge=1, description="copies of the sharded model, each on its own data")
    shard: int | None = Field(
        default=None, ge=1, description="workers that share one copy; default those that are left"
    )
    tensor: int = Field(default=1, ge=1, description="workers that share each matrix")
    pipeline: int = Field(default=1, ge=1, description="groups of workers with some of the layers each")
    expert: int = Field(default=1, ge=1, description="groups of workers with some of the experts each; divides shard")
    context: int = Field(default=1, ge=1, description="workers that share each sequence")
    zero: Literal[0, 1, 2, 3] = Field(
        default=3, description="what `shard` shards: 0 nothing, 1 optimizer state, 2 gradients too, 3 weights too"
    )
    schedule: Literal["1f1b", "interleaved"] = Field(default="1f1b", description="the order of a pipeline's passes")


class PrecisionSpec(Block):
    """In which numbers is computed, and in which weights and the optimizer's state are kept."""

    compute: Literal["auto", "float32", "bfloat16", "float8"] = Field(
        default="auto", description="auto: bfloat16 where the chip has it in its matrix units, else float32"
    )
    scaling: Literal["tensorwise", "rowwise"] = Field(
        default="tensorwise", description="of float8: one scale for each tensor, or for each row of each factor"
    )
    masters: Literal["float32", "bfloat16"] = Field(default="float32", description="of weights and moments")


class LoraSpec(Block):
    """Low-rank adapters (Hu et al. 2021) beside frozen weights; only they are trained."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0, description="their sum is scaled by alpha / rank")
    on: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="names of the matrices; default all of the blocks but routers"
    )


class GuardSpec(Block):
    """What is done about a loss that jumps or is no number: back to the last checkpoint, and past the data since."""

    spike: float = Field(default=10.0, gt=0, description="standard deviations above the mean of the last losses")
    window: int = Field(default=50, ge=8, description="steps that the mean is taken of")
    rollbacks: int = Field(default=3, ge=0, description="so many a run; after that it fails")


class OrderSpec(Block):
    """In which order the data is read. Both belong to the order: a run that goes on keeps them."""

    window: int = Field(default=4, ge=1, description="shards shuffled together; more mixes better and needs more cache")
    lanes: int = Field(
        default=1, ge=1, le=4096, description="parts that nodes can share out among them, each reading its own shards"
    )


class OptimizerSpec(Block):
    """How weights are changed. The learning rate follows the steps or the time, whichever is used up first."""

    kind: Literal["adamw", "muon"] = Field(
        default="adamw", description="muon: for the matrices of blocks; AdamW for the rest"
    )
    learning_rate: float = Field(default=3e-3, gt=0)
    schedule: Literal["linear", "cosine", "wsd", "constant"] = Field(
        default="linear", description="after the warm-up; wsd stays constant and falls in the last fifth"
    )
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    z_loss: float = Field(default=0.0, ge=0, description="weight of the squared log of the softmax's sum (PaLM: 1e-4)")


class TrainSpec(Spec):
    kind: ClassVar[str] = "train"

    name: Name
    dataset: Ref
    mix: dict[Ref, PositiveFloat] = Field(
        default={}, description="other datasets mixed in, with their weights beside the 1 of `dataset`"
    )
    model: ModelSpec = ModelSpec()
    start_from: str | None = Field(
        default=None,
        min_length=1,
        description="weights to begin with: a model of the registry, or a folder or URL of Hugging Face files",
    )
    lora: LoraSpec | None = None
    batch: BatchSpec = BatchSpec()
    order: OrderSpec = OrderSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    max_steps: int = Field(default=1000, ge=1, description="optimizer steps, at most")
    max_time_s: Seconds | None = Field(default=None, gt=0, description="training time, at most, start-up left out")
    checkpoint_every_s: Seconds = Field(default=30.0, gt=0, description="training time between checkpoints")
    keep_checkpoints: int = Field(default=3, ge=1, description="newest ones that stay, beside the best")
    workers: int = Field(default=2, ge=1, description="processes, one for each chip; each holds a part of the model")
    min_workers: int | None = Field(
        default=None, ge=1, description="go on with as few while machines are missing; default `workers`"
    )
    parallel: ParallelSpec = ParallelSpec()
    precision: PrecisionSpec = PrecisionSpec()
    activations: Literal["auto", "none", "selective", "full"] = Field(
        default="auto", description="which results are computed again in the backward pass; auto: as few as fit"
    )
    compile: bool | None = Field(default=None, description="torch.compile for each block; default on accelerators")
    guard: GuardSpec = GuardSpec()
    max_failures: int = Field(default=3, ge=0, description="lost workers to recover from before giving up")
    seed: int = Field(default=0, ge=0)
    where: WhereSpec = WhereSpec()

    @model_validator(mode="after")
    def _batch_feeds_workers(self) -> Self:
        data = self.workers // (self.parallel.tensor * self.parallel.pipeline * self.parallel.context)
        if self.batch.sequences < data:
            raise ValueError(f"batch.sequences {self.batch.sequences} leaves some of {data} workers without work")
        return self

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers {self.min_workers} is more than workers {self.workers}")
        return self

    @model_validator(mode="after")
    def _adapters_have_weights(self) -> Self:
        if self.lora and not self.start_from:
            raise ValueError("lora trains beside the weights of a model: name it in start_from")
        return self
