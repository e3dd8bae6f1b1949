"""The one object of the SDK: everything that a team makes lives in a workspace, a prefix on any store.

ws = tw.Workspace()                                  # ~/.tradewind; or "s3://bucket/prefix"
ws.datasets.add(tw.DatasetSpec.load("dataset.yaml"))
run = ws.train(tw.TrainSpec.load("train.yaml")).wait()
model = ws.models.register(run.best, name="mine", alias="prod")
endpoint = ws.serve(tw.ServeSpec.load("serve.yaml"))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from tradewind.catalog import Catalog, load_catalog
from tradewind.clusters import RaySession, connect, is_gone, is_local, this_machine, this_process
from tradewind.datasets import Batches, Dataset, Datasets, Reader, Samples
from tradewind.datasets.blocks import Tokens
from tradewind.datasets.copies.budget import EgressBudget
from tradewind.datasets.corpus.build import Connect
from tradewind.datasets.corpus.pipeline import Where
from tradewind.datasets.reading.order import WINDOW
from tradewind.datasets.retention import Collected
from tradewind.datasets.versions import GRACE
from tradewind.errors import NotFoundError, SpecError
from tradewind.families import shape_of
from tradewind.ledger import Axis, Budgets, Ledger, Meter, UsageTable, this_team, usage
from tradewind.records import (
    CheckpointRecord,
    DatasetCopy,
    EndpointState,
    Machine,
    ModelVersion,
    Place,
    Placement,
    Record,
    Usage,
)
from tradewind.registry import Model, Models
from tradewind.registry.catalog_files import CatalogFiles
from tradewind.reports import Story, render
from tradewind.specs import DatasetSpec, ServeSpec, TrainSpec, TuneSpec
from tradewind.specs.reference import check_alias, check_name
from tradewind.storage import Store, open_store
from tradewind.storage.home import default_url
from tradewind.storage.transfer.meter import TransferMeter
from tradewind.storage.transfer.place import place_of

if TYPE_CHECKING:
    from tradewind.datasets.tiers.tiering import Tiering
    from tradewind.planner import Plan, Plans
    from tradewind.serving import Endpoint
    from tradewind.serving.trials import Found, Goals
    from tradewind.training import Run
    from tradewind.tuning import Sweep
    from tradewind.tuning.quotes import Prices

REPORTS = "reports"
LOCAL_CLOUD = "local"
COMPUTE = {"fp32": "float32", "bf16": "bfloat16", "fp8": "float8"}
"""The planner's word for a number format → that of `precision.compute`. Others are not trained in."""


class Workspace:
    """A place for datasets, runs, models, endpoints and their ledger. Raises StorageError when it cannot be reached."""

    def __init__(self, url: str | None = None, *, egress_budget_usd: float | None = None) -> None:
        self.store = open_store(url or default_url())
        self.machine: Machine = this_machine()
        self.ledger = Ledger(self.store)
        self.datasets = WorkspaceDatasets(self.store, self.ledger, self.machine)
        self.models = WorkspaceModels(self.store)
        self.runs = Runs(self.store)
        self.sweeps = Sweeps(self.store)
        self.endpoints = Endpoints(self.store)
        self._session: RaySession | None = None
        self._held: list[Endpoint] = []
        check_reachable(self.store)
        if egress_budget_usd is not None:
            self.egress_budget.set_limit(egress_budget_usd)

    @property
    def egress_budget(self) -> EgressBudget:
        """What all processes together may spend on bytes that cross a paid boundary. The limit is kept in the store."""
        return EgressBudget(self.store)

    @property
    def catalog(self) -> Catalog:
        """What can be had where and at which price now, with the price lists and overlays of this workspace."""
        return self.catalog_files.load()

    @property
    def catalog_files(self) -> CatalogFiles:
        """The price lists and overlays of this workspace; `load(at=…)` gives the catalogue as it was."""
        return CatalogFiles(self.store)

    @property
    def url(self) -> str:
        return self.store.url

    @property
    def location(self) -> str:
        """The folder where the workspace is one of this machine, else the URL."""
        folder = self.store.local_path("datasets")
        return str(folder.parent) if folder else self.url

    def plan(self, spec: TrainSpec | ServeSpec, *, data_at: str | None = None, grid: Path | None = None) -> Plan:
        """Where work could run within its limits, and what that would take: every offer, the others with the reason.

        `data_at` says where the data is, like `aws/us-east-1`; by default where the workspace is. `grid` is a CSV of
        hourly carbon intensities, from which the start is chosen. Raises NoPlanError with the nearest misses.
        """
        from tradewind.planner.asking import plan_for
        from tradewind.planner.moving import moving_days

        place = Place.parse(data_at) if data_at else None
        catalog = self.catalog
        effort = moving_days(catalog, place or place_of(self.store))
        return plan_for(self.store, spec, catalog, self.machine, data_at=place, grid=grid, effort_days=effort)

    def train(self, spec: TrainSpec, *, on: Placement | str | None = None) -> Run:
        """Start a training run and return at once; `Run.wait()` follows it. Starts Ray here when there is none.

        `on` is a placement of a plan, or the name of one like `pystdlib-20261126-101500#2`. What the run is expected to
        take is written down with it, and counts against the team's budget from the start. Raises QuotaError when that
        is spent, CapacityError when the machines are not there.
        """
        from tradewind import training
        from tradewind.planner.prediction import of_placement, predict

        placement, plan = self.plans.placement(on) if isinstance(on, str) else (on, None)
        spec = on_machines(spec, placement) if placement else spec
        dataset, shape = training.prepare(self.store, spec)
        session = self._ray(workers=spec.workers)
        prediction = predict(self.store, spec, self.machine) if session.is_own else None
        if placement:
            session.check_machines(placement.machines)
            prediction = of_placement(placement, plan=plan.plan if plan else None)
        return training.start(self.store, spec, session, dataset, shape, prediction)

    def resume(self, run: Run, *, anyway: bool = False) -> Run:
        """Go on with a run from its last checkpoint, with the spec it began with, and return at once.

        Raises SpecError for a finished run, and for one that still runs unless `anyway`.
        """
        from tradewind import training

        job, _ = training.check_resume(run, anyway=anyway)
        session = self._ray(workers=job.spec.workers)
        return training.resume(run, session, anyway=anyway)

    def tune(self, spec: TuneSpec, *, anyway: bool = False) -> Sweep:
        """Begin a sweep, or go on with the one of that name, and return at once; `Sweep.wait()` follows it.

        Of a sweep that goes on only limits may be others. `anyway` takes up one that is thought to run elsewhere.
        Raises QuotaError for a budget that is too small for one trial, SpecError for another search under that name.
        """
        from tradewind.tuning import Tuning

        tuning = Tuning(self.store, self.machine, lambda workers: self._ray(workers=workers), prices=self._prices(spec))
        return tuning.start(spec, anyway=anyway)

    def _prices(self, spec: TuneSpec) -> Prices:
        """What the price guard says to the machines of a sweep, by the interruptions that the sweep has seen."""
        from tradewind.tuning import Sweep
        from tradewind.tuning.prices import PriceGuard
        from tradewind.tuning.quotes import Prices

        def guard() -> PriceGuard:
            workers, every_s = spec.train.workers, spec.train.checkpoint_every_s
            known = PriceGuard(cap=spec.max_price, machines=workers, checkpoint_s=every_s)
            seen = Sweep(self.store, spec.name).standing() if spec.name in self.store.folders("sweeps") else None
            return known.seen(seen.preempted, seen.machine_s / 3600) if seen else known

        return Prices(self.store, self.machine, lambda: self.catalog, guard, on_cluster=lambda: not is_local())

    def serve(self, spec: ServeSpec) -> Endpoint:
        """Bring up an endpoint and return once it answers. On a Ray of our own it lives as long as this program.

        Raises QuotaError when the team's budget has no room for an hour of this machine.
        """
        from tradewind import serving

        serving.check(self.store, spec)
        with self.budgets.room(this_team(), self.machine.usd_per_hour, spec.name):
            session = self._ray(workers=1, preload=serving.PRELOAD)
            endpoint = serving.deploy(self.store, spec, session)
        if session.is_own:
            self._held.append(endpoint)
        return endpoint

    @overload
    def usage(self, *, since: datetime | None = None, by: None = None) -> list[Usage]: ...

    @overload
    def usage(self, *, since: datetime | None = None, by: Sequence[Axis | str]) -> UsageTable: ...

    def usage(
        self, *, since: datetime | None = None, by: Sequence[Axis | str] | None = None
    ) -> list[Usage] | UsageTable:
        """The rows of the ledger, oldest first; or, `by` team, run, model, day and so on, their sums.

        Raises SpecError for an unknown axis.
        """
        return self.ledger.rows(since=since) if by is None else self.ledger.by(by, since=since)

    @property
    def plans(self) -> Plans:
        """Plans that were written down."""
        from tradewind.planner import Plans

        return Plans(self.store)

    @property
    def budgets(self) -> Budgets:
        """What teams may spend. A limit is kept in the store, and work that does not fit any more is not started."""
        return Budgets(self.store)

    def report(self, work: Run | Sweep, *, sample: tuple[str, str] | None = None) -> Report:
        """Write the report of a run and of what came from it, or of a sweep: one HTML page without outside parts."""
        from tradewind.training import Run

        if isinstance(work, Run):
            html = render(self._story(work, sample))
        else:
            from tradewind.tuning.report import sweep_page

            html = sweep_page(work.standing())
        key = f"{REPORTS}/{work.name}.html"
        self.store.put(key, html.encode())
        return Report(f"{self.url}/{key}", html, self.store.local_path(key))

    def close(self) -> None:
        """End the Ray that this workspace has started, with everything on it. Records stay."""
        held, self._held = self._held, []
        session, self._session = self._session, None
        try:
            for endpoint in held:
                endpoint.drain()
        finally:
            if session is not None:
                session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _ray(self, *, workers: int, preload: str = "") -> RaySession:
        if self._session is None:
            self._session = connect(workers=workers, preload=preload)
        self._session.check_room(workers)
        return self._session

    def _story(self, run: Run, sample: tuple[str, str] | None) -> Story:
        """Everything that the report tells, collected from the records."""
        start = run.record
        model = self.models.made_from(f"run:{run.name}")
        endpoint = self.endpoints.serving(f"{model.name}@{model.version}") if model else None
        dataset = self.datasets.get(start.dataset).record
        subjects = {start.id, dataset.id}
        made = {model.id} if model else set()
        aliases = self.models.aliases(model.name) if model else {}
        return Story(
            dataset=dataset,
            start=start,
            metrics=tuple(run.metrics()),
            checkpoints=tuple(run.checkpoints),
            end=run.ending(),
            model=model,
            aliases=tuple(alias for alias, version in aliases.items() if model and version == model.version),
            endpoint=endpoint,
            usage=tuple(row for row in self.usage() if row.subject in subjects or made & set(row.parents)),
            sample=sample,
        )


@dataclass(frozen=True)
class Report:
    """A report where it was written. `path` is set where the workspace is a folder of this machine."""

    url: str
    html: str
    path: Path | None

    def _repr_html_(self) -> str:
        from html import escape

        return f'<iframe srcdoc="{escape(self.html)}" style="width:100%;height:640px;border:0"></iframe>'


@dataclass(frozen=True)
class WorkspaceDatasets(Datasets):
    ledger: Ledger
    machine: Machine

    def add(
        self, spec: DatasetSpec, *, on: Where | None = None, connect: Connect = connect, tasks: int | None = None
    ) -> Dataset:
        """Make a version and write what it took into the ledger. Starts Ray when that is needed."""
        meter = Meter(self.machine)
        return self._recorded(super().add(spec, on=on, connect=connect, tasks=tasks), meter)

    def add_tokens(self, name: str, splits: Mapping[str, Iterable[Tokens]], **options: Any) -> Dataset:
        meter = Meter(self.machine)
        return self._recorded(super().add_tokens(name, splits, **options), meter)

    def add_table(self, name: str, data: Any, **options: Any) -> Dataset:
        meter = Meter(self.machine)
        return self._recorded(super().add_table(name, data, **options), meter)

    def append_table(self, name: str, data: Any, **options: Any) -> Dataset:
        meter = Meter(self.machine)
        return self._recorded(super().append_table(name, data, **options), meter)

    def _recorded(self, dataset: Dataset, meter: Meter) -> Dataset:
        """The dataset, once what it took is in the ledger."""
        row = usage("dataset", dataset.record.id, self.machine, meter.read(), tokens_out=dataset.record.tokens)
        self.ledger.record([row])
        return dataset

    def read(
        self,
        *references: str,
        sequences: int,
        tokens_per_sequence: int,
        split: str = "train",
        weights: Sequence[float] | None = None,
        seed: int = 0,
        epochs: int | None = None,
        window: int = WINDOW,
        lanes: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> Reader:
        """Shuffled batches of one or several datasets, as a training run would read them.

        Each batch has `sequences` rows of `tokens_per_sequence` + 1 tokens, so that inputs and targets are one apart.
        What the bytes cost is in the ledger when an iteration ends.
        """
        datasets = [self.get(reference) for reference in references]
        sources = [Samples(dataset, split, width=tokens_per_sequence + 1) for dataset in datasets]
        batches = Batches(sources, sequences=sequences, seed=seed, weights=weights, window=window, lanes=lanes)
        when_closed = partial(self._record_transfers, datasets)
        return Reader(batches, rank=rank, world=world, epochs=epochs, when_closed=when_closed)

    def verify(self, dataset: Dataset) -> int:
        """Read every byte of a version from this workspace's own store and check it. Returns the bytes read.

        What they cost is in the ledger. Raises IntegrityError that names all damaged files.
        """
        try:
            return dataset.verify()
        finally:
            self._record_transfers([dataset])

    def _record_transfers(self, datasets: Sequence[Dataset]) -> None:
        for dataset in datasets:
            self.ledger.record_transfers(dataset.origin.meter, subject=dataset.record.id, machine=self.machine)
        EgressBudget(self.store).close()

    def gc(
        self,
        name: str,
        *,
        keep: int,
        grace: timedelta = GRACE,
        dry_run: bool = False,
        in_use: Callable[[], Collection[str]] | None = None,
    ) -> Collected:
        """Remove old versions but those that a live run or a registered model uses, and delete unused files."""
        return super().gc(name, keep=keep, grace=grace, dry_run=dry_run, in_use=in_use or self._in_use)

    def _in_use(self) -> set[str]:
        """Ids of the records that live runs and registered models were made from."""
        from tradewind.training.uses import Uses

        live = {one for use in Uses(self.store)() if use.is_live for one in (*use.parents, f"dataset:{use.dataset}")}
        return live | {one for model in Models(self.store).list() for one in model.parents}

    def replicate(self, reference: str, *urls: str, places: Sequence[str] = ()) -> list[DatasetCopy]:
        """Copy a version to other stores, from where reads are cheapest; the same call goes on where one was cut short.

        `places` says where the stores are, like `aws/eu-west-1`: one for each, or one for all. Without it,
        a copy stays where it was said to be. Raises QuotaError.
        """
        from tradewind.datasets.copies.replication import replicate

        dataset = self.get(reference)
        stores = [open_store(url) for url in urls]
        if len(places) not in (0, 1, len(urls)):
            raise SpecError(f"{len(places)} places for {len(urls)} stores", hint="give one for each, or one for all")
        given: list[Place | None] = [Place.parse(place) for place in places] or [None]
        given = given * len(stores) if len(given) == 1 else given
        meter = TransferMeter()
        try:
            return replicate(dataset, list(zip(stores, given, strict=True)), meter=meter)
        finally:
            self.ledger.record_transfers(meter, subject=dataset.record.id, machine=self.machine)

    def copies(self, name: str) -> list[DatasetCopy]:
        """Where a dataset is read from, beside its home."""
        from tradewind.datasets.copies.catalog import copies_of

        return copies_of(self.store, name)

    def drop_copy(self, name: str, url: str, *, delete: bool = False) -> DatasetCopy:
        """Read a copy no more; with `delete` also remove its objects. Raises NotFoundError."""
        from tradewind.datasets.copies.replication import drop_copy

        return drop_copy(self.store, name, url, delete=delete)

    @property
    def tiering(self) -> Tiering:
        """Which storage class each shard is in, and where a policy wants it. Sees the runs of the workspace."""
        from tradewind.datasets.tiers.tiering import Tiering
        from tradewind.training.uses import Uses

        uses = Uses(self.store)

        def records() -> Iterator[Record]:
            """Whatever may name a dataset as its parent: a sign that it was read."""
            yield from uses.starts()
            yield from WorkspaceModels(self.store).list()
            yield from self.list()
            yield from self.ledger.rows()

        return Tiering(self, uses, records, this_process, is_gone)


@dataclass(frozen=True)
class WorkspaceModels(Models):
    def register(self, checkpoint: CheckpointRecord, *, name: str, alias: str | None = None) -> Model:
        """Export a checkpoint as Hugging Face files, store them as the next version, and let the alias mean it.

        Raises IntegrityError when the checkpoint or its dataset is damaged.
        """
        from tradewind import training

        check_name(name)
        if alias:
            check_alias(alias)
        start = training.find(self.store, checkpoint.run).record
        spec = TrainSpec.of(**start.spec)
        dataset = Datasets(self.store).get(start.dataset)
        shape = shape_of(
            spec.model, vocabulary=dataset.tokenizer_file.vocabulary, context=spec.batch.tokens_per_sequence
        )
        card = training.model_card(start, checkpoint, name=name)
        with TemporaryDirectory(prefix="export-") as folder:
            files = training.hugging_face_files(
                self.store, checkpoint, shape, dataset, card=card, folder=Path(folder), lora=spec.lora
            )
            model = self.add(
                name,
                files,
                parents=(checkpoint.id, start.id, *start.parents),
                family=shape.family,
                parameters=start.parameters,
                context=shape.context,
                heldout_loss=checkpoint.heldout_loss,
                card={"run": start.run, "step": checkpoint.step, "tokens": checkpoint.tokens, "dataset": start.dataset},
            )
        if alias:
            self.promote(model.reference, alias=alias)
        return model

    def made_from(self, run_id: str) -> ModelVersion | None:
        """The newest model that came from a run."""
        made = (model for model in self.list() if run_id in model.parents)
        return max(made, key=lambda model: model.created_at, default=None)


@dataclass(frozen=True)
class Runs:
    store: Store

    def list(self) -> Iterator[Run]:
        """Oldest first."""
        from tradewind import training

        return (training.Run(self.store, name) for name in training.names(self.store))

    def get(self, name: str) -> Run:
        """A run by name, or the newest for `last`. Raises NotFoundError."""
        from tradewind import training

        if name == "last":
            newest = next(reversed(training.names(self.store)), None)
            if newest is None:
                raise NotFoundError("there is no run yet", hint="start one: tw train SPEC")
            return training.Run(self.store, newest)
        return training.find(self.store, name)


@dataclass(frozen=True)
class Sweeps:
    store: Store

    def list(self) -> Iterator[Sweep]:
        """By name."""
        from tradewind.tuning import sweep

        return (sweep.Sweep(self.store, name) for name in sweep.names(self.store))

    def get(self, name: str) -> Sweep:
        """A sweep by name, or the one that began last for `last`. Raises NotFoundError."""
        from tradewind.tuning import sweep

        if name == "last":
            newest = max(self.list(), key=lambda one: one.record.created_at, default=None)
            if newest is None:
                raise NotFoundError("there is no sweep yet", hint="start one: tw tune SPEC")
            return newest
        return sweep.find(self.store, name)


@dataclass(frozen=True)
class Endpoints:
    store: Store

    def list(self) -> Iterator[Endpoint]:
        """Every endpoint that was ever up, in its newest state."""
        from tradewind import serving

        return serving.every(self.store)

    def get(self, name: str) -> Endpoint:
        from tradewind import serving

        return serving.find(self.store, name)

    def tune(
        self, spec: ServeSpec, *, goals: Goals | None = None, clients: int = 16, seconds: float = 10.0, trials: int = 12
    ) -> Found:
        """Measure settings of an endpoint under load, on this machine and without Ray; `chosen` is the one to take.

        Without goals they are the spec's. Raises QuotaError when the team's budget has no room for an hour of this
        machine, and what the replica raises when it cannot start with the spec as it is.
        """
        from tradewind.serving.room import check_names
        from tradewind.serving.trials import tune

        check_names(spec)
        with Budgets(self.store).room(this_team(), this_machine().usd_per_hour, f"{spec.name}-trial"):
            return tune(self.store, spec, goals=goals, clients=clients, seconds=seconds, trials=trials)

    def serving(self, model: str) -> EndpointState | None:
        """The endpoint that serves a model version, or else the one that did last."""
        found = [endpoint for endpoint in self.list() if endpoint.record.model == model]
        newest = max(found, key=lambda endpoint: (endpoint.is_up, endpoint.record.created_at), default=None)
        return newest.record if newest else None


def on_machines(spec: TrainSpec, placement: Placement) -> TrainSpec:
    """The spec laid out as a placement says: a worker for each chip, or for each machine without chips.

    Raises SpecError for chips that are not trained on.
    """
    if placement.cloud == LOCAL_CLOUD:
        return spec
    if not placement.chip:
        return spec.with_values(workers=placement.machines)
    if load_catalog().chip(placement.chip).runtime != "cuda" or placement.precision not in COMPUTE:
        raise SpecError(
            f"{placement.offer} has {placement.chip}, computing in {placement.precision}, which is not trained on",
            hint="take a placement with newer chips of NVIDIA's, or without any: tw plan SPEC --chip cpu",
        )
    axes = {**placement.layout, "shard": placement.layout.get("shard", 1) * placement.layout.get("expert", 1)}
    return spec.with_values(
        workers=placement.chips,
        min_workers=None,
        parallel=axes,
        batch__sequences_per_pass=placement.micro_batch or None,
        activations=placement.recompute,
        precision__compute=COMPUTE[placement.precision],
        where__chips=(placement.chip,),
    )


def check_reachable(store: Store) -> None:
    """Raises StorageError or AuthError when a workspace cannot be listed, NotFoundError when it has no bucket."""
    try:
        store.folders("datasets")
    except NotFoundError as exc:
        raise NotFoundError(
            f"the workspace {store.url} does not exist", hint="create the bucket, or check the URL"
        ) from exc
