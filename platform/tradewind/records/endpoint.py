"""The record of an endpoint: each change of its state is one."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tradewind.records.base import Record
from tradewind.records.machine import ProcessName


class EndpointState(Record):
    """`process` holds the endpoint: when it ends, the endpoint does. None where a Ray cluster holds it."""

    kind: ClassVar[str] = "endpoint"

    name: str
    change: int
    writer: str
    status: Literal["up", "down"]
    url: str
    model: str
    engine: str
    process: ProcessName | None
    cluster: str | None = None
    """RAY_ADDRESS of the cluster that holds it."""
    spec: dict[str, Any]
    phases: dict[str, float] = Field(default_factory=dict)
    """Seconds of the start: of the whole, and of the first replica by phase."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}/{self.change}"
