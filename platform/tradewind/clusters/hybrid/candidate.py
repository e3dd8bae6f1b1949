"""One way to get a machine of a size class, and the order in which such ways are tried: the cheapest in the end first.

A spot machine costs its price and the work that interruptions lose. What is lost is the planner's, with its prior for
machines that nobody has watched yet; it is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tradewind.clusters.hybrid.settings import REGION_KEY
from tradewind.errors import SpecError, did_you_mean
from tradewind.planner.spot import STEADY, Hazard, effective_usd_per_hour, rework_share
from tradewind.specs.base import Block
from tradewind.specs.document import Document

CHECKPOINT_S = 600.0
"""Work between checkpoints, of which an interruption loses half. An assumption: jobs are not known here."""

RESTART_S = 300.0
"""From the order of a machine to the first step, as the planner assumes it."""


class Candidate(Block):
    """`node_config` is what the backend's own provider of Ray takes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Becomes a tag; lower case, since Google's labels are."""
    backend: str
    market: Literal["spot", "on_demand", "owned"] = "on_demand"
    usd_per_hour: float = Field(default=0.0, ge=0)
    on_demand_usd_per_hour: float | None = Field(default=None, ge=0)
    resources: dict[str, float] | None = None
    """Only to be compared: all candidates of a class have the same."""
    node_config: dict[str, Any] = Field(default_factory=dict)

    @property
    def effective_usd_per_hour(self) -> float:
        hazard = Hazard() if self.market == "spot" else Hazard(prior=STEADY)
        rework = rework_share(hazard.mean_per_hour, 1.0, CHECKPOINT_S, RESTART_S)
        return float(effective_usd_per_hour(self.usd_per_hour, rework))

    @property
    def machine(self) -> str:
        """What the cloud calls the machine type; empty for own hosts."""
        parameters = self.node_config.get("azure_arm_parameters", {})
        name = self.node_config.get("InstanceType") or self.node_config.get("machineType") or parameters.get("vmSize")
        return str(name or "").rpartition("/")[2]

    def place(self, backends: Mapping[str, Mapping[str, Any]]) -> str:
        """Region, or zone where one is named."""
        settings = backends[self.backend]
        placement = self.node_config.get("Placement", {})
        key = REGION_KEY.get(settings["type"], "")
        return str(placement.get("AvailabilityZone") or settings.get("availability_zone") or settings.get(key) or "")


def read_candidates(
    node_config: Mapping[str, Any], backends: Iterable[str], *, place: str = "node_config"
) -> tuple[Candidate, ...]:
    """The candidates of a size class as they are written. Raises SpecError that names the place in the YAML."""
    written = node_config.get("candidates")
    if not isinstance(written, list) or not written:
        raise SpecError(f"{place}.candidates is missing", hint="list at least one way to get such a machine")
    found = tuple(_read(item, f"{place}.candidates[{index}]", backends) for index, item in enumerate(written))
    _check_names(found, place)
    _check_resources(found, place)
    return found


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The cheapest in the end first; of two that cost the same, the one that is written first."""
    return sorted(candidates, key=lambda candidate: candidate.effective_usd_per_hour)


def _read(item: Any, place: str, backends: Iterable[str]) -> Candidate:
    if not isinstance(item, dict):
        raise SpecError(f"{place}: a candidate is a mapping, not {item!r}")
    candidate = Candidate.from_document(Document.of(item, name=place))
    if candidate.backend not in (names := list(backends)):
        raise SpecError(
            f"{place}.backend: no backend named {candidate.backend!r}{did_you_mean(candidate.backend, names)}"
        )
    return candidate


def _check_names(candidates: Sequence[Candidate], place: str) -> None:
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(
            f"{place}.candidates: {', '.join(twice)} is given twice", hint="a name says which one was taken"
        )


def _check_resources(candidates: Sequence[Candidate], place: str) -> None:
    given = [(candidate.name, candidate.resources) for candidate in candidates if candidate.resources is not None]
    for name, resources in given[1:]:
        if resources != given[0][1]:
            raise SpecError(
                f"{place}.candidates: {name} has {resources}, and {given[0][0]} has {given[0][1]}",
                hint="Ray schedules by the class, so all its candidates are alike; make two classes of them",
            )
