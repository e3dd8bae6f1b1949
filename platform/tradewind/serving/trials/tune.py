"""`tw serve tune`: trials of one endpoint's settings on this machine, each a record, and the one to take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tradewind import progress
from tradewind.clusters import this_machine
from tradewind.engines import engine
from tradewind.errors import SpecError, TradewindError
from tradewind.ledger import this_team
from tradewind.records import Machine, ServingFigures, ServingLoad, ServingTrial
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.trials.berth import berth
from tradewind.serving.trials.goals import Goals, Point, choose, front, knee
from tradewind.serving.trials.load import measure
from tradewind.serving.trials.requests import check_context
from tradewind.serving.trials.search import search
from tradewind.serving.trials.setting import Knobs, Setting
from tradewind.specs import ServeSpec
from tradewind.storage import RecordLog, Store
from tradewind.units import format_latency
from tradewind.versions import versions_of

FOLDER = "serving_trials"
LIBRARIES = ("tradewind", "torch", "transformers", "vllm")
CLIENTS, SECONDS, TRIALS = 16, 10.0, 12


@dataclass(frozen=True)
class Found:
    """All trials of a search in their order, the first being the spec as it is."""

    spec: ServeSpec
    goals: Goals
    load: ServingLoad
    machine: Machine
    points: tuple[Point, ...]

    @property
    def chosen(self) -> Point:
        return choose(self.points, self.goals, clients=self.load.clients)

    @property
    def front(self) -> list[Point]:
        return front(self.points)

    @property
    def knee(self) -> Point | None:
        """Of the settings that differ from the spec in their slots alone."""
        alike = [one for one in self.points if one.setting.knobs == self.points[0].setting.knobs]
        return knee(alike, clients=self.load.clients)

    @property
    def misses(self) -> list[str]:
        """By how much the chosen one misses each goal that it misses, in words."""
        figures = self.chosen.figures
        return self.goals.misses(figures) if figures else []

    @property
    def changes(self) -> dict[str, Any]:
        """What the spec must say otherwise to be the chosen one."""
        return self.chosen.setting.changes(self.spec)


def tune(
    store: Store,
    spec: ServeSpec,
    *,
    goals: Goals | None = None,
    clients: int = CLIENTS,
    seconds: float = SECONDS,
    trials: int = TRIALS,
) -> Found:
    """Measure settings of a spec until the plan or the number of trials is at its end.

    A setting that cannot start, or whose answers break, is a trial that failed; only when the spec as it is fails, its
    error is raised. Raises SpecError for a load that the model has no context for.
    """
    load = load_of(spec, clients=clients, seconds=seconds)
    if trials < 1:
        raise SpecError(f"{trials} trials find nothing", hint="give 1 or more")
    goals = goals or Goals.of(spec)
    fixed = spec.model_copy(update={"model": ModelFiles.of(store, spec.model).reference})  # an alias may move meanwhile
    machine, knobs = this_machine(), _knobs(spec)
    tried = _Trials(store, fixed, load, machine)
    with progress.track("measure settings", total=trials) as bar:

        def one(setting: Setting) -> Point:
            point = tried.measure(setting, may_fail=bool(tried.number))
            bar.advance(note=words(point))
            return point

        start = Setting.of(spec, knobs)
        points = search(start, knobs, goals, clients=clients, trials=trials, measure=one)
    return Found(spec, goals, load, machine, tuple(points))


def load_of(spec: ServeSpec, *, clients: int, seconds: float) -> ServingLoad:
    """The load of a spec's traffic. Raises SpecError for one that cannot be measured."""
    if clients < 1 or not seconds > 0:
        raise SpecError(f"{clients} clients for {seconds:g} s measure nothing", hint="give 1 or more clients, and time")
    traffic = spec.traffic
    if traffic.tokens_out < 2:
        raise SpecError("answers of 1 token have no time between tokens", hint="give tokens_out of 2 or more")
    return ServingLoad(clients=clients, seconds=seconds, tokens_in=traffic.tokens_in, tokens_out=traffic.tokens_out)


def try_out(store: Store, spec: ServeSpec, load: ServingLoad) -> tuple[float, ServingFigures]:
    """Seconds to start a replica, and what the load saw of it. A record's `spec` and `load` measure it again.

    Its rows in the ledger are of an endpoint of the name with `-trial` behind it.
    """
    queue = max(spec.queue, load.clients)
    alone = spec.with_values(name=f"{spec.name[:57]}-trial", queue=queue, replicas=1, scaling=None, base=0)
    with berth(store, alone, team=this_team()) as replica:
        check_context(load, replica.context)
        return replica.start_s, measure(replica.url, replica.model, load)


def _knobs(spec: ServeSpec) -> Knobs:
    knobs = engine(spec.engine).searched
    if knobs is None:
        raise SpecError(f"the {spec.engine} engine makes no text, and what is measured here are its tokens")
    return knobs


def records_of(store: Store, endpoint: str) -> RecordLog[ServingTrial]:
    return RecordLog(store, f"{FOLDER}/{endpoint}", ServingTrial)


def words(point: Point) -> str:
    """A point in a line."""
    seen = point.figures
    if seen is None:
        return f"{point.setting.max_concurrency} slots: failed"
    itl = format_latency(seen.itl_p95_s)
    return f"{point.setting.max_concurrency} slots: {seen.tokens_per_s:.0f} tok/s, ITL p95 {itl}"


class _Trials:
    """Measures settings of one spec, and writes each down."""

    def __init__(self, store: Store, spec: ServeSpec, load: ServingLoad, machine: Machine) -> None:
        self._store = store
        self._spec = spec
        self._load = load
        self._machine = machine
        self._search = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        self.number = 0
        """Of the newest record; 0 before the first."""

    def measure(self, setting: Setting, *, may_fail: bool) -> Point:
        spec = setting.on(self._spec)
        try:
            start_s, figures = try_out(self._store, spec, self._load)
        except TradewindError as exc:
            self._write(spec, failure=exc.message)
            if not may_fail:
                raise
            return Point(setting, failure=exc.message, number=self.number)
        self._write(spec, start_s=start_s, figures=figures)
        return Point(setting, figures, number=self.number)

    def _write(self, spec: ServeSpec, **seen: Any) -> None:
        record = records_of(self._store, spec.name).append(
            lambda number, writer: ServingTrial(
                endpoint=spec.name,
                number=number,
                writer=writer,
                search=self._search,
                spec=spec.model_dump(mode="json"),
                load=self._load,
                machine=self._machine,
                versions=versions_of(LIBRARIES),
                parents=(f"model:{spec.model}",),
                **seen,
            ),
            after=self.number,
        )
        self.number = record.number
