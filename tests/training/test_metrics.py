from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Iterator

import pytest

from tradewind.records import StepMetrics
from tradewind.storage import open_store
from tradewind.training.metrics import MetricsWriter
from tradewind.training.run import MetricsReader, RunFiles


@pytest.fixture
def files() -> RunFiles:
    return RunFiles(open_store(f"memory://{uuid.uuid4().hex}"), "pilot-20250304-120000-abcd")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def metrics(step: int, *, loss: float = 3.0, seconds: float = 0.0, heldout_loss: float | None = None) -> StepMetrics:
    return StepMetrics(
        attempt="a", step=step, tokens=step * 64, seconds=seconds, loss=loss, learning_rate=0.1, grad_norm=1.0,
        tokens_per_s=100.0, cpu_seconds=seconds, heldout_loss=heldout_loss,
    )  # fmt: skip


def parts(files: RunFiles) -> int:
    return len(list(files.store.list(files.key("metrics"))))


def write(files: RunFiles, rows: Iterable[StepMetrics]) -> None:
    with MetricsWriter(files, writes=True) as writer:
        for row in rows:
            writer.write(row)


def test_reader_sees_each_step_once_in_order(files: RunFiles) -> None:
    rows = [metrics(step, loss=1 / step) for step in range(1, 30)]
    write(files, rows[:10])
    write(files, rows[10:])
    assert files.metrics() == rows
    assert parts(files) == 2


def test_run_without_metrics_has_none(files: RunFiles) -> None:
    assert files.metrics() == []
    write(files, [])
    assert parts(files) == 0


def test_steps_of_about_a_second_are_one_part(files: RunFiles, clock: Clock) -> None:
    with MetricsWriter(files, writes=True) as writer:
        for step in range(1, 31):
            clock.now += 0.1
            writer.write(metrics(step))
        assert parts(files) in (2, 3)
    assert [row.step for row in files.metrics()] == list(range(1, 31))


def test_parts_of_an_old_run_cover_more(files: RunFiles, clock: Clock) -> None:
    with MetricsWriter(files, writes=True) as writer:
        for step in range(1, 30):
            clock.now += 1
            writer.write(metrics(step, seconds=1450 + step))
        assert parts(files) == 0
        clock.now += 1
        writer.write(metrics(30, seconds=1480))
        assert parts(files) == 1


def test_step_with_a_checkpoint_is_written_at_once(files: RunFiles, clock: Clock) -> None:
    with MetricsWriter(files, writes=True) as writer:
        writer.write(metrics(1))
        writer.write(metrics(2, heldout_loss=2.5))
        assert files.metrics() == [metrics(1), metrics(2, heldout_loss=2.5)]


def test_checkpoints_in_quick_succession_lose_no_part(files: RunFiles) -> None:
    rows = [metrics(step, heldout_loss=2.5) for step in range(1, 200)]
    write(files, rows)
    assert files.metrics() == rows


def test_steps_before_a_failure_are_kept(files: RunFiles) -> None:
    def lost() -> Iterator[StepMetrics]:
        yield metrics(1)
        raise RuntimeError("the worker is lost")

    with pytest.raises(RuntimeError):
        write(files, lost())
    assert files.metrics() == [metrics(1)]


def test_rank_that_need_not_write_writes_nothing(files: RunFiles) -> None:
    with MetricsWriter(files, writes=False) as writer:
        writer.write(metrics(1, heldout_loss=2.5))
    assert parts(files) == 0


def test_of_a_repeated_step_the_last_time_counts(files: RunFiles) -> None:
    write(files, (metrics(step, loss=1.0) for step in range(1, 11)))
    write(files, (metrics(step, loss=2.0) for step in range(6, 13)))
    found = files.metrics()
    assert [row.step for row in found] == list(range(1, 13))
    assert [row.loss for row in found] == [1.0] * 5 + [2.0] * 7


def test_follower_sees_each_part_once(files: RunFiles) -> None:
    reader = MetricsReader(files)
    assert reader.new() == []
    write(files, [metrics(1), metrics(2)])
    assert [row.step for row in reader.new()] == [1, 2]
    assert reader.new() == []
    write(files, [metrics(2, loss=9.0), metrics(3)])
    assert [(row.step, row.loss) for row in reader.new()] == [(2, 9.0), (3, 3.0)]


def test_loss_that_is_no_number_reads_back(files: RunFiles) -> None:
    write(files, [metrics(1, loss=float("nan")), metrics(2, loss=float("inf"))])
    first, second = files.metrics()
    assert math.isnan(first.loss)
    assert second.loss == float("inf")
