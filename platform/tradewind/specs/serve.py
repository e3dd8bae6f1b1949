"""The wish for an endpoint: which model, which engine, on what, how many replicas, where it listens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, field_validator, model_validator

from tradewind.errors import SpecError
from tradewind.specs.applications import wishes
from tradewind.specs.base import Block, Spec
from tradewind.specs.document import Document
from tradewind.specs.reference import Name, Ref, Reference
from tradewind.specs.where import WhereSpec
from tradewind.units import Seconds


def is_place(model: str) -> bool:
    """Whether a model is named by where its files are, a URL or a path, and not by its name in the registry."""
    return "://" in model or model.startswith(("/", "./", "../", "~"))


def _checked_source(value: str) -> str:
    if is_place(value):
        return value
    try:
        return str(Reference.parse(value))
    except SpecError as exc:
        raise ValueError(f"{exc.message}; {exc.hint}, or the URL or path of a folder with the model's files") from exc


Source = Annotated[str, AfterValidator(_checked_source)]


class TrafficSpec(Block):
    """What will be asked of an endpoint. A plan is made for it; serving itself does not need it."""

    requests_per_s: PositiveFloat = Field(default=1.0, description="mean over the time")
    peak_factor: float = Field(default=2.0, ge=1, description="the busiest hour over the mean")
    tokens_in: int = Field(default=512, ge=1, description="tokens of a prompt, on average")
    tokens_out: int = Field(default=128, ge=1, description="tokens of an answer, on average")
    time_s: Seconds = Field(default=30 * 86400.0, gt=0, description="how long the endpoint is up")
    ttft_s: Seconds | None = Field(default=None, gt=0, description="bound on the time to the first token")
    itl_s: Seconds | None = Field(default=None, gt=0, description="bound on the time between tokens")
    weights: Literal["fp32", "bf16", "fp8", "int8", "int4"] = "bf16"
    cache: Literal["fp32", "bf16", "fp8"] = "bf16"


class QualitySpec(Block):
    """How much worse a model may predict whose precision changes its weights; other precisions are not compared."""

    max_loss_increase: float = Field(
        default=0.02, ge=0, le=1, description="of the loss on the text, as a share of that of the unchanged weights"
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="text to compare on; the held-out text of the model's dataset if left out",
    )


class SplitSpec(Block):
    """How one replica is divided over chips."""

    tensor: int = Field(default=1, ge=1, description="chips that share each layer")
    pipeline: int = Field(default=1, ge=1, description="stages of layers, one after the other")
    expert: bool = Field(default=False, description="experts of a mixture are divided, not each expert's matrices")

    @property
    def chips(self) -> int:
        return self.tensor * self.pipeline


class ScalingSpec(Block):
    """How many replicas there are, by what is asked of them. Times are from the moment that a signal holds."""

    min: int = Field(default=1, ge=0, description="0 lets the last replica go as well")
    max: int = Field(default=4, ge=1)
    warm: int = Field(default=0, ge=0, description="replicas beyond those, loaded, with no requests until wanted")
    policy: str = Field(default="tokens", description="tokens, classic or another one that is installed")
    ttft_s: Seconds | None = Field(default=None, gt=0, description="the 95th percentile stays below this")
    target_tokens: PositiveFloat | None = Field(
        default=None, description="tokens in flight that a replica carries well; from slots and traffic when left out"
    )
    up_after_s: Seconds = Field(default=0.0, ge=0)
    down_after_s: Seconds = Field(default=60.0, ge=0)
    cool_down_s: Seconds = Field(default=30.0, ge=0, description="after a change no change in the other direction")
    idle_to_zero_s: Seconds = Field(default=300.0, ge=0, description="with `min` 0: the last replica goes after this")
    cold_start_s: Seconds = Field(default=10.0, gt=0, description="what a replica needs until it answers")
    forecast: bool = Field(default=True, description="add replicas for the load that a cold start from now will bring")

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


OF_REPLICAS = (
    "engine", "profile", "precision", "quality", "adapters", "parallel", "engine_settings", "chips_per_replica",
    "replicas", "scaling", "base", "burst", "prefetch", "replica_ports",
)  # fmt: skip
"""Fields that say nothing where no replica is started."""


SLOTS = {"latency": 16, "balanced": 64, "throughput": 256}
"""Of a replica on accelerators: 256 is what vLLM takes itself; fewer keep the time between tokens shorter."""
SLOTS_ON_PROCESSORS = {"latency": 4, "balanced": 8, "throughput": 32}


class ServeSpec(Spec):
    kind: ClassVar[str] = "serve"

    name: Name
    model: Source = Field(description="registered model, like pystdlib@prod, or a folder with its files, as a URL")
    targets: tuple[str, ...] = Field(
        default=(), description="URLs of OpenAI servers that are there already; nothing is started then"
    )
    workspace: str | None = Field(default=None, description="URL of the workspace; the command's own when left out")
    engine: str = "transformers"
    profile: Literal["latency", "balanced", "throughput"] = "balanced"
    precision: Literal["auto", "float32", "bfloat16", "float8", "int8"] = "auto"
    quality: QualitySpec = QualitySpec()
    adapters: dict[Name, Ref] = Field(default={}, description="name → registered LoRA adapter")
    parallel: SplitSpec = SplitSpec()
    engine_settings: dict[str, Any] = Field(default={}, description="what the engine alone knows")
    chips_per_replica: int | None = Field(default=None, ge=0, description="accelerators; 0 for processors alone")
    replicas: int = Field(default=1, ge=1)
    scaling: ScalingSpec | None = None
    base: int = Field(default=0, ge=0, description="of the replicas, on machines that are not taken away")
    burst: Literal["any", "spot"] = Field(default="any", description="the market of the replicas beyond `base`")
    prefetch: bool = Field(default=False, description="fetch the model to every node that may hold a replica")
    host: str = Field(default="127.0.0.1", description="address to listen on; the default is this machine alone")
    port: int = Field(default=8000, ge=1, le=65535)
    replica_ports: tuple[int, int] | None = Field(default=None, description="first and last port; any when left out")
    max_concurrency: int | None = Field(
        default=None, ge=1, description="requests in one replica at a time; more wait. By `profile` when left out"
    )
    queue: int = Field(default=256, ge=0, description="requests that may wait in one replica; more are refused")
    request_timeout_s: Seconds = Field(default=120.0, gt=0)
    first_answer_s: Seconds = Field(default=60.0, gt=0, description="how long a request waits for a first replica")
    drain_s: Seconds = Field(default=30.0, ge=0, description="how long answers that have begun may go on at the end")
    traffic: TrafficSpec = TrafficSpec()
    where: WhereSpec = WhereSpec()

    @property
    def chips(self) -> int:
        """Accelerators of one replica."""
        return self.parallel.chips if self.chips_per_replica is None and self._is_split else self.chips_per_replica or 0

    @property
    def slots(self) -> int:
        """Requests in one replica at a time."""
        return self.max_concurrency or (SLOTS if self.chips else SLOTS_ON_PROCESSORS)[self.profile]

    @property
    def most_replicas(self) -> int:
        return self.scaling.max if self.scaling else self.replicas

    @property
    def _is_split(self) -> bool:
        return self.parallel.chips > 1

    @field_validator("targets")
    @classmethod
    def _targets_are_addresses(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for one in targets:
            url = urlsplit(one)
            if url.scheme != "http" or not url.hostname or url.query or url.fragment:
                raise ValueError(f"{one!r} is no address of a server, like http://10.0.0.7:8000")
        return targets

    @model_validator(mode="after")
    def _targets_are_alone(self) -> Self:
        fields = type(self).model_fields
        given = [name for name in OF_REPLICAS if getattr(self, name) != fields[name].default]
        if self.targets and given:
            raise ValueError(f"targets are there already, so {given[0]} has nothing to say: leave one of them out")
        return self

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if self.scaling and self.replicas != 1:
            raise ValueError("replicas is a fixed number, and scaling changes it: keep one of them")
        if self.base > self.most_replicas:
            raise ValueError(f"base {self.base} is above the {self.most_replicas} replicas that there may be")
        if self._is_split and self.chips_per_replica not in (None, self.parallel.chips):
            raise ValueError(
                f"parallel divides a replica over {self.parallel.chips} chips, "
                f"and chips_per_replica is {self.chips_per_replica}"
            )
        if self.replica_ports and not 0 < self.replica_ports[0] <= self.replica_ports[1] < 65536:
            raise ValueError("replica_ports is the first and the last port, like [31000, 31099]")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The spec in a file of `kind: serve`, or the only application in a file of Ray Serve. Raises SpecError."""
        found = cls.load_all(path)
        if len(found) > 1:
            names = ", ".join(spec.name for spec in found)
            raise SpecError(f"{path} has {len(found)} applications: {names}", hint="a plan is made for one; split it")
        return found[0]

    @classmethod
    def load_all(cls, path: str | Path) -> list[Self]:
        """Every endpoint that a file wishes for: one of `kind: serve`, or the applications in a file of Ray Serve."""
        document = Document.read(path)
        if "applications" not in document.values:
            return [super().load(path)]
        return [cls.from_document(wish) for wish in wishes(document)]
