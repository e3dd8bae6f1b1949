"""What would have been: recorded demand under another policy, and recorded signals under the same one again.

The same policy on the same signals decides the same; `repeat` checks that. Another policy would have seen other
signals, so the demand is taken out of the record, as requests that come by chance at the recorded rate, with the mean
size and the mean time at work, and played in the simulator. The result is an estimate, to be held against the recorded
policy in the same simulator as well as against what happened.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tradewind.errors import NotFoundError
from tradewind.records import ScalingSample, ScalingWindow
from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.policies import policy
from tradewind.serving.autoscaling.replica_model import Pace
from tradewind.serving.autoscaling.signals import Signals
from tradewind.serving.autoscaling.simulator import Outcome, World, simulate
from tradewind.serving.autoscaling.ticks import signals_of
from tradewind.serving.autoscaling.traces import Trace, trace

TTFT_S = 1.0
"""The goal of an endpoint that has set none."""
FIRST_S = 0.1
"""Time to the first token without a queue, where no replica has reported one."""


@dataclass(frozen=True)
class Told:
    """One way that it went or would have gone."""

    what: str
    basis: str
    """measured or estimated."""
    replica_hours: float
    usd: float
    slo_violation_s: float
    changes: int
    most: int


@dataclass(frozen=True)
class Replay:
    endpoint: str
    seconds: float
    requests: int
    """Estimated from their rate."""
    ttft_s: float
    happened: Told
    recorded: Told
    """The recorded policy in the simulator."""
    other: Told
    repeated: tuple[int, int]
    """Decisions that the recorded policy makes again on the recorded signals, of how many."""


def replay(
    windows: Sequence[ScalingWindow], name: str, *, settings: dict[str, Any] | None = None, usd_per_replica_hour: float
) -> Replay:
    """Recorded windows under another policy. Raises NotFoundError for its name, or when no request came."""
    last = windows[-1]
    limits = Limits.of(last.limits)
    demand, world = fit(windows, limits, usd_per_replica_hour)
    recorded = simulate(demand, policy(last.policy, limits, **last.settings), world)
    other = simulate(demand, policy(name, limits, **(settings or {})), world)
    return Replay(
        endpoint=last.endpoint,
        seconds=demand.duration_s,
        requests=len(demand.arrivals),
        ttft_s=world.ttft_s,
        happened=_happened(windows, world),
        recorded=_told(last.policy, recorded),
        other=_told(name, other),
        repeated=repeat(windows),
    )


def repeat(windows: Sequence[ScalingWindow]) -> tuple[int, int]:
    """How many of the looks the recorded policy decides again as it did, of how many.

    Looks before the first window of a fresh policy are left out: what it had seen before them is not known.
    """
    same = looks = 0
    deciding = None
    for window in windows:
        if window.is_first:
            deciding = policy(window.policy, Limits.of(window.limits), **window.settings)
        if deciding is None:
            continue
        for signals, decided in looked(window):
            looks += 1
            same += deciding.decide(signals).target == decided
    return same, looks


def looked(window: ScalingWindow) -> Iterator[tuple[Signals, int]]:
    """Every look of a window and what was decided."""
    for sample in window.samples:
        for tick in range(sample.tick, sample.tick + sample.ticks):
            yield signals_of(sample, tick, window.tick_s), sample.decided


def fit(windows: Sequence[ScalingWindow], limits: Limits, usd_per_replica_hour: float) -> tuple[Trace, World]:
    """The demand as a trace, and replicas like those that were there. Raises NotFoundError when no request came."""
    tick_s = windows[-1].tick_s
    samples = [sample for window in windows for sample in window.samples]
    rows = [(sample.ticks * tick_s, signals_of(sample, sample.tick, tick_s)) for sample in samples]
    requests = sum(seconds * one.arrivals_per_s for seconds, one in rows)
    taken = [(seconds, one) for seconds, one in rows if one.requests > one.queued]
    if not requests or not taken:
        raise NotFoundError("no request came in that time", hint="choose a longer one: --from")
    in_flight = sum(seconds * (one.requests - one.queued) for seconds, one in taken)
    tokens = max(1.0, sum(seconds * one.tokens_in_flight for seconds, one in taken) / in_flight)
    at_work_s = sum(seconds * (one.requests - one.waiting) for seconds, one in rows) / requests
    world = _world(rows, limits, tokens=tokens, at_work_s=at_work_s, usd_per_replica_hour=usd_per_replica_hour)
    return _demand(samples, tick_s, round(tokens)), replace(world, initial=samples[0].target)


def _demand(samples: Sequence[ScalingSample], tick_s: float, tokens: int) -> Trace:
    """Poisson arrivals at the recorded rate, which is a mean of some seconds and so has lost its own unevenness."""
    first = samples[0].tick
    seconds = (samples[-1].tick + samples[-1].ticks - first) * tick_s
    rates: dict[int, float] = {}
    for sample in samples:
        for tick in range(sample.tick - first, sample.tick - first + sample.ticks):
            rates[int(tick * tick_s)] = sample.arrivals_per_s
    return trace(
        "recorded", lambda now_s: rates.get(int(now_s), 0.0), duration_s=seconds, seed=0, tokens_in=0, tokens_out=tokens
    )


def _world(
    rows: Sequence[tuple[float, Signals]],
    limits: Limits,
    *,
    tokens: float,
    at_work_s: float,
    usd_per_replica_hour: float,
) -> World:
    replicas = [one for _, signals in rows for one in signals.ready]
    capacity = statistics.fmean(one.capacity for one in replicas) if replicas else tokens
    most_running = max((one.running for one in replicas), default=1)
    slots = max(1, most_running, round(capacity / tokens))
    calm = [one.ttft_p95_s for one in replicas if one.ttft_p95_s is not None and not one.waiting]
    first_s = min(statistics.median(calm) if calm else FIRST_S, at_work_s)
    return World(
        pace=Pace(slots=slots, first_s=first_s, each_s=max(0.0, at_work_s - first_s) / tokens),
        capacity=capacity,
        cold_start_s=limits.cold_start_s,
        ttft_s=limits.ttft_s or TTFT_S,
        usd_per_replica_hour=usd_per_replica_hour,
    )


def _happened(windows: Sequence[ScalingWindow], world: World) -> Told:
    """From the record itself.

    A second counts as missed while a ready replica reports a TTFT above the goal, which looks back over a minute, or
    while a request waits and no replica is ready.
    """
    samples = [(sample, window.tick_s) for window in windows for sample in window.samples]
    replica_s = missed_s = 0.0
    for sample, tick_s in samples:
        signals, seconds = signals_of(sample, sample.tick, tick_s), sample.ticks * tick_s
        replica_s += max(len(sample.replicas), sample.target) * seconds
        late = any((one.ttft_p95_s or 0.0) > world.ttft_s for one in signals.ready)
        missed_s += seconds * (late or (signals.requests > 0 and not signals.ready))
    return Told(
        what="what happened",
        basis="measured",
        replica_hours=replica_s / 3600,
        usd=replica_s / 3600 * world.usd_per_replica_hour,
        slo_violation_s=missed_s,
        changes=sum(sample.ticks for sample, _ in samples if sample.decided != sample.target),
        most=max(max(len(sample.replicas), sample.target) for sample, _ in samples),
    )


def _told(name: str, outcome: Outcome) -> Told:
    return Told(
        what=name,
        basis="estimated",
        replica_hours=outcome.replica_s / 3600,
        usd=outcome.usd,
        slo_violation_s=float(outcome.slo_violation_s),
        changes=len(outcome.changes),
        most=outcome.most,
    )
