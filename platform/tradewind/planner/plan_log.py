"""Plans of a workspace, written down so that a run or a cluster can be started from one."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tradewind.errors import ConflictError, NotFoundError, SpecError, did_you_mean
from tradewind.planner.plan import Plan
from tradewind.records import Placement, PlanRecord, now
from tradewind.specs import ServeSpec, TrainSpec
from tradewind.storage import Store

FOLDER = "plans"
KEPT = 50
"""Candidates that a record holds."""


@dataclass(frozen=True)
class Plans:
    store: Store

    def write(self, spec: TrainSpec | ServeSpec, plan: Plan) -> PlanRecord:
        """Write the first candidates of a plan down, in their order. Its name ends with the second it was made in."""
        while True:
            made = now()
            record = _record(spec, plan).model_copy(
                update={"plan": f"{spec.name}-{made:%Y%m%d-%H%M%S}", "created_at": made}
            )
            try:
                self.store.create(f"{FOLDER}/{record.plan}.json", record.to_json())
                return record
            except ConflictError:
                time.sleep(1.0 - made.microsecond / 1e6)

    def names(self) -> list[str]:
        """Oldest first."""
        names = (item.key.removeprefix(f"{FOLDER}/") for item in self.store.list(FOLDER))
        found = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(found, key=lambda name: (name.split("-")[-2:], name))

    def get(self, name: str) -> PlanRecord:
        """A plan by name, or the newest for `last`. Raises NotFoundError with the nearest name."""
        names = self.names()
        name = names[-1] if name == "last" and names else name
        if name not in names:
            raise NotFoundError(f"no plan named {name!r}{did_you_mean(name, names)}", hint="make one: tw plan SPEC")
        key = f"{FOLDER}/{name}.json"
        return PlanRecord.from_json(self.store.get(key), where=f"{self.store.url}/{key}")

    def placement(self, reference: str) -> tuple[Placement, PlanRecord]:
        """What `PLAN` or `PLAN#2` means: the first or the second candidate of a plan. Raises SpecError."""
        name, mark, number = reference.partition("#")
        record = self.get(name)
        if mark and not (number.isdigit() and 1 <= int(number) <= len(record.placements)):
            raise SpecError(f"{reference!r} is no placement", hint=f"{name} has #1 to #{len(record.placements)}")
        return record.placements[int(number) - 1 if mark else 0], record


def _record(spec: TrainSpec | ServeSpec, plan: Plan) -> PlanRecord:
    return PlanRecord(
        plan="",
        spec=spec.model_dump(mode="json"),
        spec_kind=spec.kind,
        placements=tuple(plan.candidates(KEPT)),
        num_candidates=plan.count,
        num_rejected=len(plan.rejected),
        rejected=dict(plan.reasons.most_common()),
        assumptions=plan.assumptions,
    )
