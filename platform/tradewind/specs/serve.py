"""The wish for an endpoint: which model, which engine, where it listens."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tradewind.specs.base import Spec
from tradewind.specs.reference import Name, Ref
from tradewind.units import Seconds


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
