"""What a trial tries: the part of a spec that may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tradewind.specs import ServeSpec

PROFILE = "profile"
"""Of the knobs that engines name, the one that is the spec's own and not of `engine_settings`."""
Knobs = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Setting:
    """Slots, and the value of each knob that was changed or that the spec gives."""

    max_concurrency: int
    knobs: tuple[tuple[str, Any], ...] = ()
    """Sorted by name."""

    @classmethod
    def of(cls, spec: ServeSpec, knobs: Knobs) -> Setting:
        """A spec's own, as far as it can be searched."""
        given = {PROFILE: spec.profile, **spec.engine_settings}
        return cls(spec.slots, tuple(sorted((name, given[name]) for name in knobs if name in given)))

    def with_slots(self, number: int) -> Setting:
        return replace(self, max_concurrency=number)

    def with_knob(self, name: str, value: Any) -> Setting:
        return replace(self, knobs=tuple(sorted({**dict(self.knobs), name: value}.items())))

    def in_effect(self, clients: int) -> int:
        """Requests that are worked on at once: more slots than clients stay empty."""
        return min(self.max_concurrency, clients)

    def changes(self, spec: ServeSpec) -> dict[str, Any]:
        """What a spec must say otherwise to be this setting, by the fields of the spec."""
        wanted = dict(self.knobs)
        profile = wanted.pop(PROFILE, spec.profile)
        changed: dict[str, Any] = {} if profile == spec.profile else {PROFILE: profile}
        if spec.with_values(**changed).slots != self.max_concurrency:
            changed = {"max_concurrency": self.max_concurrency, **changed}
        engine = {name: value for name, value in wanted.items() if spec.engine_settings.get(name) != value}
        return {**changed, "engine_settings": engine} if engine else changed

    def on(self, spec: ServeSpec) -> ServeSpec:
        changed = self.changes(spec)
        engine = {**spec.engine_settings, **changed.pop("engine_settings", {})}
        return spec.with_values(**changed, engine_settings=engine)
