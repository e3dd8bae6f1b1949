"""Facts written by the platform: what was made, from what, when, and what it took."""

from tradewind.records.base import Fact, Record, StoredFile, now
from tradewind.records.copy import DatasetCopy, EgressChange
from tradewind.records.dataset import DatasetVersion, Shard, Split, TokenizerFile
from tradewind.records.endpoint import EndpointState
from tradewind.records.machine import Effort, Machine, ProcessName
from tradewind.records.model import AliasMove, ModelVersion
from tradewind.records.place import LOCAL, UNKNOWN, Boundary, Place, boundary
from tradewind.records.retention import Removal, Sweep, TagMove
from tradewind.records.run import CheckpointRecord, RunEnd, RunStart, RunSummary, Status, StepMetrics
from tradewind.records.tiers import TierChange, TierMove
from tradewind.records.usage import Activity, Usage

__all__ = [
    "LOCAL",
    "UNKNOWN",
    "Activity",
    "AliasMove",
    "Boundary",
    "CheckpointRecord",
    "DatasetCopy",
    "DatasetVersion",
    "Effort",
    "EgressChange",
    "EndpointState",
    "Fact",
    "Machine",
    "ModelVersion",
    "Place",
    "ProcessName",
    "Record",
    "Removal",
    "RunEnd",
    "RunStart",
    "RunSummary",
    "Shard",
    "Split",
    "Status",
    "StepMetrics",
    "StoredFile",
    "Sweep",
    "TagMove",
    "TierChange",
    "TierMove",
    "TokenizerFile",
    "Usage",
    "boundary",
    "now",
]
