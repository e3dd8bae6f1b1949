"""The record of an endpoint: each change of its state is one."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tradewind.records.base import Record


class EndpointState(Record):
    """`pid` and `process_started` name the process that holds the endpoint on `machine`, even when pids are used again."""

    kind: ClassVar[str] = "endpoint"

    name: str
    change: int
    writer: str
    status: Literal["up", "down"]
    url: str
    model: str
    engine: str
    machine: str
    pid: int
    process_started: float
    spec: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}/{self.change}"
