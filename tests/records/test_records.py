from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind import records
from tradewind.errors import IntegrityError
from tradewind.records import (
    AliasMove,
    Attempt,
    BudgetChange,
    CheckpointRecord,
    Compaction,
    Cost,
    DatasetCopy,
    DatasetVersion,
    Decision,
    Effort,
    EgressChange,
    EndpointState,
    Fact,
    Interval,
    Launch,
    Machine,
    Measurement,
    ModelVersion,
    Place,
    Placement,
    PlanRecord,
    ProcessName,
    QualityCheck,
    Record,
    Removal,
    Reservation,
    RollbackRecord,
    RunEnd,
    RunResumed,
    RunStart,
    RunWorker,
    RunWorkers,
    ScalingDecision,
    ScalingSample,
    ScalingWindow,
    ServingFigures,
    ServingLoad,
    ServingTrial,
    Shard,
    Split,
    StopRequest,
    StoredFile,
    Sweep,
    SweepEnd,
    SweepGuarded,
    SweepPage,
    SweepResumed,
    SweepStart,
    SweepStop,
    TagMove,
    TierChange,
    TierMove,
    TokenizerFile,
    TrialEnd,
    TrialFailed,
    TrialPreempted,
    TrialReport,
    TrialStart,
    Usage,
    now,
)

FILE = StoredFile(key="a/b", sha256="0" * 64, num_bytes=5)
MACHINE = Machine(host="quay", processor="x86", num_cpus=2, memory_bytes=2**30, usd_per_hour=0.1)
PROCESS = ProcessName(host="quay", pid=7, started=1.5)
EFFORT = Effort(seconds=1.0, cpu_seconds=2.0, energy_wh=0.01, usd=0.001)

ONE = Interval(low=1.0, value=1.0, high=1.0)
PLACEMENT = Placement(
    offer="aws/us-east-1/eight/spot",
    cloud="aws",
    region="us-east-1",
    zone="",
    instance="eight",
    market="spot",
    chip="H100-SXM",
    machines=1,
    chips=8,
    layout={"shard": 8},
    precision="bf16",
    tokens_per_s=ONE,
    estimated_tokens_per_s=1.0,
    hours=ONE,
    usd_per_machine_hour=20.0,
    price_as_of=date(2026, 4, 5),
    price_is_old=False,
    cost=Cost(compute_usd=20.0, rework_usd=1.0, idle_usd=0.5, transfer_usd=0.0, storage_usd=0.0),
    cost_usd=ONE.times(21.5),
    usd_per_million_tokens=1.0,
    energy_kwh=5.0,
    carbon_kg=None,
    effort_days=0.0,
    memory_bytes=2**30,
    basis="estimated",
)

EXAMPLES: tuple[tuple[Record, str], ...] = (
    (
        DatasetVersion(
            name="stdlib",
            version=3,
            writer="w",
            dtype="uint16",
            splits={"train": Split(shards=(Shard(key="k", sha256="s", num_bytes=4, tokens=2),), documents=1, tokens=2)},
            tokenizer=TokenizerFile(key="t", sha256="s", num_bytes=9, vocabulary=300, end_of_text="<|end|>"),
            text_bytes=10,
            spec={"name": "stdlib"},
        ),
        "dataset:stdlib@3",
    ),
    (
        ModelVersion(
            name="pilot", version=1, writer="w", family="llama", parameters=5, context=128, heldout_loss=None,
            files={"model.safetensors": FILE}, card={"text": "é"},
        ),
        "model:pilot@1",
    ),
    (AliasMove(name="pilot", alias="prod", version=1, move=2, writer="w"), "alias:pilot@prod/2"),
    (
        RunStart(
            run="r1", dataset="stdlib@3", parameters=5, spec={},
            machine=MACHINE, process=PROCESS, versions={"torch": "2"}
        ),
        "run:r1",
    ),
    (
        CheckpointRecord(
            run="r1", step=10, tokens=5, seconds=1, cpu_seconds=2, loss=2.5, heldout_loss=2.6, files=(FILE,)
        ),
        "checkpoint:r1/10",
    ),
    (RollbackRecord(run="r1", step=7, to_step=4, loss=9.5, reason="it jumped"), "rollback:r1/7"),
    (RunEnd(run="r1", status="finished", effort=EFFORT), "run end:r1"),
    (
        RunWorkers(
            run="r1",
            created_at=datetime(2026, 4, 5, 6, 7, 8, 9, tzinfo=UTC),
            workers=(RunWorker(rank=0, host="quay", address="10.0.0.1", node="ab", pid=7, chips=("0",)),),
        ),
        "run workers:r1/20260405-060708-000009",
    ),
    (
        RunResumed(run="r1", created_at=datetime(2026, 4, 5, 6, 7, 8, 9, tzinfo=UTC), process=PROCESS),
        "run resumed:r1/20260405-060708-000009",
    ),
    (StopRequest(run="r1", host="quay"), "stop request:r1"),
    (
        EndpointState(
            name="chat", change=4, writer="w", status="up", url="http://127.0.0.1:8000", model="pilot@1",
            engine="transformers", process=PROCESS, spec={},
        ),
        "endpoint:chat/4",
    ),
    (
        TierChange(
            name="stdlib", change=2, writer="w", mover="m", status="ended", cloud="s3", policy="cost", process=PROCESS,
            moves=(TierMove(version=1, split="train", before="hot", after="cold", num_objects=2, num_bytes=9),),
        ),
        "tier change:stdlib/2",
    ),
    (
        Measurement(
            measurement_id="pilot-20260405-101500",
            work="training",
            chip="H100-SXM",
            chips_per_node=8,
            nodes=1,
            shape={"hidden": 64},
            layout={"shard": 8},
            precision="bf16",
            tokens_per_sequence=1024,
            sequences=16,
            tokens_per_s=1e5,
            source="run:pilot-20260405-101500",
        ),
        "measurement:pilot-20260405-101500",
    ),
    (
        PlanRecord(
            plan="pilot-20260405-101500",
            spec={},
            spec_kind="train",
            placements=(PLACEMENT,),
            num_candidates=1,
            num_rejected=0,
            rejected={},
        ),
        "plan:pilot-20260405-101500",
    ),
    (
        Usage(
            usage_id="u1", activity="serving", subject="endpoint:chat/4", machine="quay", seconds=1, cpu_seconds=1,
            energy_wh=0, usd=0,
        ),
        "usage:u1",
    ),
    (
        Compaction(number=2, writer="w", day=date(2026, 3, 4), file=FILE, num_rows=7, sources=("a.parquet",)),
        "compaction:2026-03-04/2",
    ),
    (
        BudgetChange(
            change=3, writer="w", team="pilots", limit_nusd=10**9, reserved={"r1": Reservation(nusd=5, at=now())}
        ),
        "budget:pilots/3",
    ),
    (
        DatasetCopy(
            name="stdlib", url="gs://far/stdlib", place=Place(cloud="gcp", region="us-east1"), versions=(1, 3),
            change=2, writer="w",
        ),
        "copy:stdlib/2",
    ),
    (TagMove(name="stdlib", tag="golden", version=3, move=2, writer="w"), "tag:stdlib@golden/2"),
    (Removal(name="stdlib", version=3, status="restored", change=2, writer="w"), "removal:stdlib@3/2"),
    (Sweep(name="stdlib", sweeper="s", status="going", step=7, writer="w"), "sweep:stdlib/7"),
    (
        Launch(
            cluster="harbour", number=4, writer="w", node_type="cpu", request="r-1", wanted=2, reason="cheapest",
            passed_over=("east: left alone",), seconds=0.4,
            attempts=(
                Attempt(
                    candidate="west-1", backend="west", market="spot", place="us-west-2", machine="m5.large", token="t",
                    usd_per_hour=0.1, effective_usd_per_hour=0.104, wanted=2, outcome="fewer", nodes=("west/i-1",),
                    seconds=0.3,
                ),
            ),
        ),
        "launch:harbour/4",
    ),
    (
        Decision(cluster="harbour", number=2, writer="w", action="sweep", subject="west/i-1", reason="its time ended"),
        "decision:harbour/2",
    ),
    (
        ScalingDecision(
            endpoint="chat", number=3, writer="w", at=datetime(2026, 4, 5, 6, 7, 8, tzinfo=UTC), policy="tokens",
            before=1, target=2, reason="tokens in flight need 1.20 replicas", inputs={"waiting": 3.0},
        ),
        "scaling decision:chat/3",
    ),
    (
        ScalingWindow(
            endpoint="chat", number=9, writer="w", policy="tokens", limits={"max": 4}, tick_s=0.5, is_first=True,
            samples=(
                ScalingSample(
                    tick=7, ticks=2, target=1, decided=2, queued=1, arrivals_per_s=0.5, tokens_per_s=9.0,
                    replicas=(("ready", 1, 0, 300, None, 0.25, 2048.0),),
                ),
            ),
        ),
        "scaling window:chat/9",
    ),
    (
        ServingTrial(
            endpoint="chat", number=5, writer="w", search="20260405-060708-000009", spec={}, machine=MACHINE,
            load=ServingLoad(clients=16, seconds=10.0, tokens_in=512, tokens_out=128), start_s=2.5,
            figures=ServingFigures(
                answers=40, requests_per_s=4.0, tokens_per_s=512.0, ttft_p50_s=0.2, ttft_p95_s=0.4, itl_p50_s=0.02,
                itl_p95_s=0.03, answer_p50_s=2.7, answer_p95_s=4.0,
            ),
        ),
        "serving trial:chat/5",
    ),
    (
        QualityCheck(
            endpoint="chat", number=2, writer="w", model="pilot@3", engine="transformers", precision="int8",
            sample_sha256="0a", tokens=4095, loss=2.31, reference_loss=2.3, max_loss_increase=0.02, passed=True,
            seconds=1.5, reference_seconds=1.2, weights_bytes=10, reference_weights_bytes=40,
        ),
        "quality check:chat/2",
    ),
    (SweepStart(sweep="rates", spec={}, machine=MACHINE, process=PROCESS), "tune:rates"),
    (
        SweepPage(
            sweep="rates", number=2, process=PROCESS,
            events=(
                TrialStart(number=0, values={"seed": 3, "optimizer.betas": [0.9, 0.95]}, run="rates-000-1"),
                TrialReport(number=0, step=5, objective=math.inf),
                TrialPreempted(number=0, message="worker 7 vanished", step=5, reached=8),
                TrialFailed(number=0, message="no room", log=("one", "two")),
                TrialEnd(number=0, status="pruned", objective=2.5),
                SweepGuarded(guard="price", action="pause", message="too dear", numbers={"cap": 0.8}),
                SweepResumed(process=PROCESS, spec={}),
                SweepEnd(status="stopped", best=0, objective=2.5),
            ),
        ),
        "tune page:rates/2",
    ),
    (SweepStop(sweep="rates", host="quay"), "tune stop:rates"),
    (EgressChange(change=7, writer="w", limit_nusd=10**10, reserved_nusd=5, by_nusd=-2), "egress:7"),
)  # fmt: skip

each_record = pytest.mark.parametrize("record", [record for record, _ in EXAMPLES], ids=lambda record: record.kind)


def public_kinds() -> set[type[Record]]:
    named = [getattr(records, name) for name in records.__all__]
    return {kind for kind in named if isinstance(kind, type) and issubclass(kind, Record)} - {Record}


def test_every_kind_of_record_has_an_example_in_these_tests() -> None:
    assert {type(record) for record, _ in EXAMPLES} == public_kinds()


def test_no_two_kinds_share_a_word() -> None:
    assert len({kind.kind for kind in public_kinds()}) == len(public_kinds())


@each_record
def test_record_reads_back_from_its_json(record: Record) -> None:
    assert type(record).from_json(record.to_json(), where="here") == record


@each_record
def test_record_of_a_newer_program_is_read_without_its_new_keys(record: Record) -> None:
    newer = {**json.loads(record.to_json()), "schema_version": 2, "not_yet_known": {"a": [1]}}
    copy = type(record).from_json(json.dumps(newer).encode(), where="here")
    assert copy == record.model_copy(update={"schema_version": 2})


@each_record
def test_record_that_was_cut_short_is_refused_with_its_place(record: Record) -> None:
    data = record.to_json()
    for end in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(IntegrityError, match=f"s3://b/r.json is not a whole {record.kind} record") as caught:
            type(record).from_json(data[:end], where="s3://b/r.json")
        assert caught.value.hint is not None


@each_record
def test_record_without_a_key_is_refused_with_that_key(record: Record) -> None:
    required = [name for name, field in type(record).model_fields.items() if field.is_required()]
    for name in required:
        values = json.loads(record.to_json())
        del values[name]
        with pytest.raises(IntegrityError, match=f"here is not a whole .* record: {name}: "):
            type(record).from_json(json.dumps(values).encode(), where="here")


@each_record
def test_record_is_frozen_and_travels_between_processes(record: Record) -> None:
    assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(ValidationError, match="frozen"):
        record.schema_version = 9  # type: ignore[misc]


@pytest.mark.parametrize(("record", "name"), EXAMPLES, ids=lambda part: getattr(part, "kind", ""))
def test_id_is_the_word_that_parents_use(record: Record, name: str) -> None:
    assert record.id == name
    child = record.model_copy(update={"parents": (record.id,)})
    assert type(record).from_json(child.to_json(), where="here").parents == (name,)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"5", b"\xff\xfe", b"{}", b'{"name": }', b'"text"'])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="here is not a whole alias record"):
        AliasMove.from_json(data, where="here")


def test_wrong_kind_of_value_is_named_by_its_place() -> None:
    values = json.loads(EXAMPLES[0][0].to_json())
    values["splits"]["train"]["shards"][0]["tokens"] = "many"
    with pytest.raises(IntegrityError, match=r"splits\.train\.shards\.0\.tokens: "):
        DatasetVersion.from_json(json.dumps(values).encode(), where="here")


def test_message_about_a_damaged_record_does_not_repeat_its_contents() -> None:
    values = {**json.loads(EXAMPLES[2][0].to_json()), "version": "hush-hush"}
    with pytest.raises(IntegrityError) as caught:
        AliasMove.from_json(json.dumps(values).encode(), where="here")
    assert "hush" not in caught.value.message


def test_time_of_making_is_now_in_utc() -> None:
    made = AliasMove(name="a", alias="b", version=1, move=1, writer="w").created_at
    assert made.tzinfo == UTC
    assert abs(now() - made) < timedelta(minutes=1)


@pytest.mark.parametrize("name", [name for name in records.__all__ if isinstance(getattr(records, name), type)])
def test_every_fact_is_frozen_and_ignores_unknown_keys(name: str) -> None:
    fact: type[Fact] = getattr(records, name)
    assert fact.model_config.get("frozen") is True
    assert fact.model_config.get("extra") == "ignore"


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    card=st.dictionaries(st.text("abc", max_size=3), plain_values, max_size=3),
    created_at=st.datetimes(timezones=st.just(UTC)),
    heldout_loss=st.none() | st.floats(0, 1e6),
    parents=st.lists(st.text("ab:@1", max_size=5), max_size=3).map(tuple),
)
def test_any_values_read_back(
    card: dict[str, Any], created_at: datetime, heldout_loss: float | None, parents: tuple[str, ...]
) -> None:
    record = ModelVersion(
        name="pilot", version=1, writer="w", family="llama", parameters=1, context=1, heldout_loss=heldout_loss,
        files={}, card=card, created_at=created_at, parents=parents,
    )  # fmt: skip
    assert ModelVersion.from_json(record.to_json(), where="here") == record


def test_sums_are_those_of_the_parts() -> None:
    dataset, model = EXAMPLES[0][0], EXAMPLES[1][0]
    assert isinstance(dataset, DatasetVersion)
    assert isinstance(model, ModelVersion)
    assert (dataset.tokens, dataset.documents, model.num_bytes) == (2, 1, 5)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_loss_that_is_no_number_reads_back(loss: float) -> None:
    record = CheckpointRecord(run="r1", step=1, tokens=1, seconds=1, cpu_seconds=1, loss=loss, heldout_loss=1, files=())
    assert repr(CheckpointRecord.from_json(record.to_json(), where="here").loss) == repr(loss)
