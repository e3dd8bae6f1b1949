"""Facts written by the platform: what was made, from what, when, and what it took."""

from tradewind.records.base import Fact, Record, StoredFile, now
from tradewind.records.budget import BudgetChange, Period, Reservation
from tradewind.records.cluster import Action, Attempt, Decision, Launch, Outcome
from tradewind.records.copy import DatasetCopy, EgressChange
from tradewind.records.dataset import ChatRows, ChatSplit, DatasetVersion, Shard, Split, TokenizerFile
from tradewind.records.endpoint import EndpointState
from tradewind.records.machine import Effort, Machine, ProcessName
from tradewind.records.measurement import Measured, Measurement
from tradewind.records.model import AliasMove, ModelVersion
from tradewind.records.place import LOCAL, UNKNOWN, Boundary, Place, boundary
from tradewind.records.plan import Basis, Cost, Interval, Placement, PlanRecord, Prediction
from tradewind.records.quality import QualityCheck
from tradewind.records.retention import Removal, Sweep, TagMove
from tradewind.records.run import (
    CheckpointRecord,
    RollbackRecord,
    RunEnd,
    RunStart,
    RunSummary,
    Status,
    StepMetrics,
)
from tradewind.records.scaling import ReplicaRow, ScalingDecision, ScalingSample, ScalingWindow
from tradewind.records.serving_trial import ServingFigures, ServingLoad, ServingTrial
from tradewind.records.sweep import (
    SweepEnd,
    SweepEvent,
    SweepGuarded,
    SweepPage,
    SweepResumed,
    SweepStart,
    SweepStatus,
    SweepStop,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
    TrialStatus,
)
from tradewind.records.tiers import TierChange, TierMove
from tradewind.records.usage import Activity, Compaction, Usage
from tradewind.records.workers import RunResumed, RunWorker, RunWorkers, StopRequest

__all__ = [
    "LOCAL",
    "UNKNOWN",
    "Action",
    "Activity",
    "AliasMove",
    "Attempt",
    "Basis",
    "Boundary",
    "BudgetChange",
    "ChatRows",
    "ChatSplit",
    "CheckpointRecord",
    "Compaction",
    "Cost",
    "DatasetCopy",
    "DatasetVersion",
    "Decision",
    "Effort",
    "EgressChange",
    "EndpointState",
    "Fact",
    "Interval",
    "Launch",
    "Machine",
    "Measured",
    "Measurement",
    "ModelVersion",
    "Outcome",
    "Period",
    "Place",
    "Placement",
    "PlanRecord",
    "Prediction",
    "ProcessName",
    "QualityCheck",
    "Record",
    "Removal",
    "ReplicaRow",
    "Reservation",
    "RollbackRecord",
    "RunEnd",
    "RunResumed",
    "RunStart",
    "RunSummary",
    "RunWorker",
    "RunWorkers",
    "ScalingDecision",
    "ScalingSample",
    "ScalingWindow",
    "ServingFigures",
    "ServingLoad",
    "ServingTrial",
    "Shard",
    "Split",
    "Status",
    "StepMetrics",
    "StopRequest",
    "StoredFile",
    "Sweep",
    "SweepEnd",
    "SweepEvent",
    "SweepGuarded",
    "SweepPage",
    "SweepResumed",
    "SweepStart",
    "SweepStatus",
    "SweepStop",
    "TagMove",
    "TierChange",
    "TierMove",
    "TokenizerFile",
    "TrialEnd",
    "TrialFailed",
    "TrialPreempted",
    "TrialReport",
    "TrialStart",
    "TrialStatus",
    "Usage",
    "boundary",
    "now",
]
