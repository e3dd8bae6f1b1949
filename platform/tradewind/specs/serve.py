"""The wish for an endpoint: which model, which engine, where it listens."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name, Ref
from tradewind.specs.where import WhereSpec
from tradewind.units import Seconds


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


class ServeSpec(Spec):
    kind: ClassVar[str] = "serve"

    name: Name
    model: Ref = Field(description="registered model, like pystdlib@prod")
    engine: str = "transformers"
    host: str = Field(default="127.0.0.1", description="address to listen on; the default is this machine alone")
    port: int = Field(default=8000, ge=1, le=65535)
    replicas: int = Field(default=1, ge=1)
    max_concurrency: int = Field(default=8, ge=1, description="requests in one replica at a time; more wait")
    request_timeout_s: Seconds = Field(default=120.0, gt=0)
    traffic: TrafficSpec = TrafficSpec()
    where: WhereSpec = WhereSpec()
