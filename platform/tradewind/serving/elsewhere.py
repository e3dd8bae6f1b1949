"""Endpoints whose servers are there already: what is asked of them, and what is written down of their answers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tradewind.errors import RunError
from tradewind.ledger import Ledger
from tradewind.serving.front.deployment import Front
from tradewind.serving.front.targets import well
from tradewind.serving.metering import UsageMeter
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.storage import Store


@dataclass(frozen=True)
class Elsewhere:
    """What the front of such an endpoint is given in the place of replicas."""

    store: Store
    endpoint: str
    model: str
    team: str

    def metered(self, front: Front) -> UsageMeter:
        """Writes what the targets answer to the ledger, from now on. What their machines cost is not known here."""
        subject = f"endpoint:{self.endpoint}"
        ledger = Ledger(self.store)
        meter = UsageMeter(
            ledger, subject, model=self.model, tokens=front.answered_tokens, team=self.team, is_elsewhere=True
        )
        front.tell_answered(meter.add)
        meter.start()
        return meter


def files_of(store: Store, spec: ServeSpec) -> ModelFiles:
    """The files that a spec means; of targets only the name that the first of them gives its model.

    Raises NotFoundError with the nearest name, RunError where no target answers.
    """
    if not spec.targets:
        return ModelFiles.of(store, spec.model)
    with ThreadPoolExecutor(1) as aside:  # the caller's thread may have a loop that runs, as a notebook's has
        found = aside.submit(asyncio.run, _all_well(spec.targets)).result()
    named = [names for names in found if names is not None]
    if not named:
        hint = "start one first; it has /health or /v1/models"
        raise RunError(f"no target answers: {', '.join(spec.targets)}", hint=hint)
    return ModelFiles(store, next((names[0] for names in named if names), spec.model))


async def _all_well(targets: tuple[str, ...]) -> list[tuple[str, ...] | None]:
    return await asyncio.gather(*map(well, targets))
