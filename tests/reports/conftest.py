"""A journey that went well, for the tests of its report."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest

from tradewind.records import (
    CheckpointRecord,
    DatasetVersion,
    Effort,
    EndpointState,
    Machine,
    ModelVersion,
    ProcessName,
    RunEnd,
    RunStart,
    Shard,
    Split,
    StepMetrics,
    StoredFile,
    TokenizerFile,
    Usage,
)
from tradewind.reports import Story

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)
RUN = "pystdlib-20250304-1200"
STEPS, TOKENS_PER_STEP, CHECKPOINT_STEPS = 600, 2048, 100


@pytest.fixture
def story() -> Story:
    return journey()


def journey() -> Story:
    checkpoints = tuple(checkpoint(step) for step in range(CHECKPOINT_STEPS, STEPS + 1, CHECKPOINT_STEPS))
    return Story(
        dataset=dataset(),
        start=start(),
        metrics=tuple(metrics(step) for step in range(1, STEPS + 1)),
        checkpoints=checkpoints,
        end=end(),
        model=model(),
        aliases=("prod",),
        endpoint=endpoint(),
        usage=usage(),
        sample=('def read_lines(path):\n    """', 'Return the lines of a file."""\n    with open(path) as file:\n'),
    )


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def sha(seed: int) -> str:
    return random.Random(seed).randbytes(32).hex()


def loss_at(step: int) -> float:
    return 3.55 + 4.1 * math.exp(-step / 70) + 0.5 * math.exp(-step / 400)


def dataset() -> DatasetVersion:
    def split(name: str, documents: int, tokens: int) -> Split:
        key = f"datasets/pystdlib/1/{name}-00000.bin"
        return Split(
            shards=(Shard(key=key, sha256=sha(tokens), num_bytes=tokens * 2, tokens=tokens),),
            documents=documents,
            tokens=tokens,
        )

    return DatasetVersion(
        created_at=NOON,
        name="pystdlib",
        version=1,
        writer="w1",
        dtype="uint16",
        splits={"train": split("train", 1411, 3_204_511), "heldout": split("heldout", 29, 66_120)},
        tokenizer=TokenizerFile(
            key="datasets/pystdlib/1/tokenizer.json",
            sha256=sha(1),
            num_bytes=130_000,
            vocabulary=2048,
            end_of_text="<|endoftext|>",
        ),
        text_bytes=11_534_336,
        spec={"kind": "dataset", "name": "pystdlib", "text": {"files": ["{stdlib}/**/*.py"], "max_bytes": 12_000_000}},
    )


def start() -> RunStart:
    return RunStart(
        created_at=later(2),
        parents=("dataset:pystdlib@1",),
        run=RUN,
        dataset="pystdlib@1",
        parameters=1_050_752,
        spec={
            "kind": "train",
            "name": "pystdlib",
            "dataset": "pystdlib@1",
            "model": {"family": "llama", "hidden": 128, "layers": 4, "heads": 4, "kv_heads": None, "tied": True},
            "batch": {"sequences": 16, "tokens_per_sequence": 128},
        },
        machine=Machine(
            host="laptop", processor="Xeon 8481C", num_cpus=2, memory_bytes=16 * 1024**3, usd_per_hour=0.0856
        ),
        process=ProcessName(host="laptop", pid=4700, started=1741089500.0),
        versions={"python": "3.11.2", "torch": "2.13.0", "ray": "2.60.0", "tradewind": "0.1.0"},
    )


def metrics(step: int) -> StepMetrics:
    return StepMetrics(
        attempt="a",
        step=step,
        tokens=step * TOKENS_PER_STEP,
        seconds=step * 0.3,
        loss=loss_at(step) + random.Random(step).gauss(0, 0.13),
        learning_rate=3e-3 * (1 - step / STEPS),
        grad_norm=0.8,
        tokens_per_s=6800.0,
        cpu_seconds=step * 0.6,
    )


def checkpoint(step: int) -> CheckpointRecord:
    return CheckpointRecord(
        created_at=later(2 + step * 0.3 / 60),
        parents=(f"run:{RUN}",),
        run=RUN,
        step=step,
        tokens=step * TOKENS_PER_STEP,
        seconds=step * 0.3,
        cpu_seconds=step * 0.6,
        loss=loss_at(step),
        heldout_loss=loss_at(step) + 0.09,
        files=(StoredFile(key=f"runs/{RUN}/{step}/model.safetensors", sha256=sha(step), num_bytes=4_203_008),),
    )


def end() -> RunEnd:
    return RunEnd(
        created_at=later(6),
        run=RUN,
        status="finished",
        steps=STEPS,
        tokens=STEPS * TOKENS_PER_STEP,
        tokens_per_s=6812.4,
        heldout_loss=loss_at(STEPS) + 0.09,
        bigram_loss=4.871,
        best_step=STEPS,
        restarts=1,
        effort=Effort(seconds=192, cpu_seconds=371, energy_wh=0.412, usd=0.0046),
    )


def model() -> ModelVersion:
    def file(name: str, num_bytes: int) -> StoredFile:
        return StoredFile(key=f"models/pystdlib/3/{name}", sha256=sha(num_bytes), num_bytes=num_bytes)

    return ModelVersion(
        created_at=later(7),
        parents=(f"checkpoint:{RUN}/{STEPS}",),
        name="pystdlib",
        version=3,
        writer="w1",
        family="llama",
        parameters=1_050_752,
        context=128,
        heldout_loss=loss_at(STEPS) + 0.09,
        files={
            "config.json": file("config.json", 611),
            "model.safetensors": file("model.safetensors", 4_205_120),
            "tokenizer.json": file("tokenizer.json", 130_000),
        },
        card={"run": RUN},
    )


def endpoint() -> EndpointState:
    return EndpointState(
        created_at=later(8),
        parents=("model:pystdlib@3",),
        name="chat",
        change=1,
        writer="w1",
        status="up",
        url="http://127.0.0.1:8000/v1",
        model="pystdlib@3",
        engine="transformers",
        process=ProcessName(host="laptop", pid=4711, started=1741089600.0),
        spec={"kind": "serve", "name": "chat", "model": "pystdlib@prod", "engine": "transformers", "port": 8000},
    )


def usage() -> tuple[Usage, ...]:
    def serving(number: int) -> Usage:
        return Usage(
            created_at=later(9 + number), usage_id=f"s{number}", activity="serving", subject="endpoint:chat",
            endpoint="chat",
            machine="laptop", requests=4, tokens_in=120, tokens_out=256, seconds=6.0, allocated_s=6.0, used_s=3.0,
            productive_s=3.0, cpu_seconds=5.0, energy_wh=0.006, usd=0.0001,
        )  # fmt: skip

    return (
        Usage(
            created_at=later(1), usage_id="d", activity="dataset", subject="dataset:pystdlib@1", machine="laptop",
            dataset="pystdlib@1",
            tokens_out=3_270_631, seconds=14.2, allocated_s=14.2, used_s=14.2, productive_s=14.2, cpu_seconds=22.0,
            energy_wh=0.03, usd=0.0003,
        ),
        Usage(
            created_at=later(6), usage_id="t", activity="training", subject=f"run:{RUN}", machine="laptop",
            run=RUN, dataset="pystdlib@1",
            tokens_in=1_228_800, seconds=192.0, allocated_s=192.0, used_s=180.0, productive_s=172.8,
            cpu_seconds=371.0, energy_wh=0.412, usd=0.0046,
        ),
        serving(1),
        serving(2),
    )  # fmt: skip
