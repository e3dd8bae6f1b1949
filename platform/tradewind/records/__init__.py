"""Facts written by the platform: what was made, from what, when, and what it took."""

from tradewind.records.base import Fact, Record, StoredFile, now
from tradewind.records.dataset import DatasetVersion, Shard, Split, TokenizerFile
from tradewind.records.endpoint import EndpointState
from tradewind.records.machine import Effort, Machine, ProcessName
from tradewind.records.model import AliasMove, ModelVersion
from tradewind.records.run import CheckpointRecord, RunEnd, RunStart, RunSummary, Status, StepMetrics
from tradewind.records.usage import Activity, Usage

__all__ = [
    "Activity",
    "AliasMove",
    "CheckpointRecord",
    "DatasetVersion",
    "Effort",
    "EndpointState",
    "Fact",
    "Machine",
    "ModelVersion",
    "ProcessName",
    "Record",
    "RunEnd",
    "RunStart",
    "RunSummary",
    "Shard",
    "Split",
    "Status",
    "StepMetrics",
    "StoredFile",
    "TokenizerFile",
    "Usage",
    "now",
]
