"""Wishes written by people: pydantic models that load from YAML, refuse what they do not know, and say where."""

from pathlib import Path

from tradewind.errors import SpecError, did_you_mean
from tradewind.specs.base import Spec
from tradewind.specs.catalog import CatalogSpec, ChipSpec, DiscountSpec, HardwareSpec, ReservationSpec
from tradewind.specs.cluster import (
    CandidateSpec,
    ClusterSpec,
    GroupSpec,
    HeadSpec,
    JobSpec,
    KubernetesSpec,
    OverlaySpec,
    ServiceSpec,
    SiteSpec,
)
from tradewind.specs.dataset import ChatSpec, DatasetSpec, TextSpec, TokenizerSpec
from tradewind.specs.document import Document
from tradewind.specs.reference import Reference
from tradewind.specs.serve import QualitySpec, ScalingSpec, ServeSpec, SplitSpec, TrafficSpec
from tradewind.specs.table import TableSpec
from tradewind.specs.train import (
    BatchSpec,
    ExpertsSpec,
    GuardSpec,
    LatentSpec,
    LoraSpec,
    ModelSpec,
    OptimizerSpec,
    OrderSpec,
    ParallelSpec,
    PrecisionSpec,
    TrainSpec,
)
from tradewind.specs.tune import RangeSpec, SchedulerSpec, TuneSpec
from tradewind.specs.where import WhereSpec

KINDS: dict[str, type[Spec]] = {
    spec.kind: spec for spec in (DatasetSpec, TrainSpec, TuneSpec, ServeSpec, CatalogSpec, ClusterSpec)
}


def load(path: str | Path) -> Spec:
    """The spec in a YAML file, its class chosen by `kind`; a file of Ray Serve's is a ServeSpec. Raises SpecError."""
    document = Document.read(path)
    if "applications" in document.values:
        return ServeSpec.load(path)
    kind = document.values.get("kind")
    if kind is None:
        raise SpecError(f"{document.name}: kind is missing", hint=f"start with a line `kind: {' | '.join(KINDS)}`")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SpecError(f"{document.place(('kind',))}: unknown kind {kind!r}{did_you_mean(str(kind), KINDS)}")
    return KINDS[kind].from_document(document)


__all__ = [
    "KINDS",
    "BatchSpec",
    "CandidateSpec",
    "CatalogSpec",
    "ChatSpec",
    "ChipSpec",
    "ClusterSpec",
    "DatasetSpec",
    "DiscountSpec",
    "ExpertsSpec",
    "GroupSpec",
    "GuardSpec",
    "HardwareSpec",
    "HeadSpec",
    "JobSpec",
    "KubernetesSpec",
    "LatentSpec",
    "LoraSpec",
    "ModelSpec",
    "OptimizerSpec",
    "OrderSpec",
    "OverlaySpec",
    "ParallelSpec",
    "PrecisionSpec",
    "QualitySpec",
    "RangeSpec",
    "Reference",
    "ReservationSpec",
    "ScalingSpec",
    "SchedulerSpec",
    "ServeSpec",
    "ServiceSpec",
    "SiteSpec",
    "Spec",
    "SplitSpec",
    "TableSpec",
    "TextSpec",
    "TokenizerSpec",
    "TrafficSpec",
    "TrainSpec",
    "TuneSpec",
    "WhereSpec",
    "load",
]
