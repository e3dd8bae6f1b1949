"""An endpoint in simulated time under a policy: what users would have felt, and what it would have cost.

Requests go to the ready replica with the fewest tokens in flight for its capacity and stay there; without one they
wait for the first. A replica is paid from the moment it is asked for until its last answer has ended. Everything
is deterministic. Not simulated: machines that are not to be had, replicas that fail, and answers that slow each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tradewind.serving.autoscaling.replica_model import Pace, ReplicaModel
from tradewind.serving.autoscaling.signals import Decision, Policy, Signals
from tradewind.serving.autoscaling.ticks import TICK_S
from tradewind.serving.autoscaling.traces import Arrival, Trace

RATE_WINDOW_S = 5.0
MISSED_SHARE = 0.05
"""A second is in violation when more than this share of the requests that came in it missed the goal."""


@dataclass(frozen=True)
class World:
    """What does not change during a simulation."""

    pace: Pace = field(default_factory=Pace)
    capacity: float = 2048.0
    """Tokens in flight that a replica reports as its capacity."""
    cold_start_s: float = 10.0
    ttft_s: float = 1.0
    initial: int = 1
    usd_per_replica_hour: float = 1.0


@dataclass
class Outcome:
    """What came of a policy on a trace."""

    requests: int = 0
    slo_violation_s: int = 0
    """Seconds in which more than 5 % of the arriving requests missed the goal for the first token."""
    replica_s: float = 0.0
    usd: float = 0.0
    ttft_p95_s: float = 0.0
    ttft_max_s: float = 0.0
    changes: list[tuple[float, int, Decision]] = field(default_factory=list)
    """Time, target before, and the decision, where it changed something."""
    most: int = 0
    targets: list[int] = field(default_factory=list)
    """What was asked for after each tick."""

    def reversals(self, *, within_s: float) -> int:
        """Changes of direction sooner than this after the change before. Waking from zero is none."""
        moves = [(time_s, decision.target - before, before) for time_s, before, decision in self.changes]
        return sum(
            first[1] * second[1] < 0 and second[2] > 0 and second[0] - first[0] < within_s
            for first, second in pairwise(moves)
        )


See = Callable[[Signals, Decision], None]


def simulate(trace: Trace, policy: Policy, world: World, *, see: See | None = None) -> Outcome:
    """Play a trace under a policy. `see` is told of every look at the endpoint and what was decided."""
    return _Simulation(world, policy, see).play(trace)


class _Simulation:
    def __init__(self, world: World, policy: Policy, see: See | None) -> None:
        self.world, self.policy, self.see = world, policy, see
        self.outcome = Outcome()
        self.target = world.initial
        self.replicas = [self._replica(0.0, ready_s=0.0) for _ in range(world.initial)]
        self.queue: deque[Arrival] = deque()
        self.first_tokens: list[tuple[float, float]] = []
        self.recent: deque[tuple[float, int, int]] = deque()
        self.done = 0

    def play(self, trace: Trace) -> Outcome:
        arrivals = deque(trace.arrivals)
        ticks = int(trace.duration_s / TICK_S)
        for tick in range(1, ticks + 1):
            now_s = tick * TICK_S
            came = 0
            while arrivals and arrivals[0].time_s <= now_s:
                self._arrive(arrivals.popleft())
                came += 1
            self._tick(now_s, came)
        self._finish(trace.duration_s)
        return self._summed(trace)

    def _arrive(self, request: Arrival) -> None:
        self._hand_out(request.time_s)
        self.queue.append(request)
        self._hand_out(request.time_s)

    def _hand_out(self, now_s: float) -> None:
        """Queued requests go out as soon as a replica is ready: at that time, though it is noticed a little later."""
        while self.queue:
            ready = [one for one in self.replicas if not one.draining and one.ready_s <= now_s]
            if not ready:
                return
            request = self.queue.popleft()
            self.done += sum(one.advance(request.time_s) for one in ready)
            chosen = min(ready, key=lambda one: one.tokens_in_flight / one.capacity)
            first_s = chosen.take(request, max(request.time_s, min(one.ready_s for one in ready)))
            self.first_tokens.append((request.time_s, first_s - request.time_s))

    def _tick(self, now_s: float, came: int) -> None:
        self._hand_out(now_s)
        self.done += sum(one.advance(now_s) for one in self.replicas)
        self.recent.append((now_s, came, self.done))
        self.done = 0
        while self.recent[0][0] <= now_s - RATE_WINDOW_S:
            self.recent.popleft()
        self._bury(now_s)
        signals = self._signals(now_s)
        decision = self.policy.decide(signals)
        if self.see:
            self.see(signals, decision)
        if decision.target != self.target:
            self.outcome.changes.append((now_s, self.target, decision))
            self._scale(now_s, decision.target)
        self.outcome.targets.append(self.target)

    def _signals(self, now_s: float) -> Signals:
        span_s = min(RATE_WINDOW_S, now_s)
        return Signals(
            time_s=now_s,
            target=self.target,
            replicas=tuple(one.signal(now_s) for one in self.replicas),
            queued=len(self.queue),
            arrivals_per_s=sum(came for _, came, _ in self.recent) / span_s,
            tokens_per_s=sum(done for _, _, done in self.recent) / span_s,
        )

    def _scale(self, now_s: float, target: int) -> None:
        self.target = target
        there = [one for one in self.replicas if not one.draining]
        for _ in range(target - len(there)):
            self.replicas.append(self._replica(now_s, ready_s=now_s + self.world.cold_start_s))
        # Serve ends what has not started yet first, then what has least to do.
        there.sort(key=lambda one: (one.ready_s <= now_s, one.tokens_in_flight, -one.asked_s))
        for one in there[: max(0, len(there) - target)]:
            one.drain(now_s)

    def _bury(self, now_s: float) -> None:
        gone = [one for one in self.replicas if one.is_over(now_s)]
        self.outcome.replica_s += sum(one.last_end_s - one.asked_s for one in gone)
        self.replicas = [one for one in self.replicas if not one.is_over(now_s)]
        self.outcome.most = max(self.outcome.most, len(self.replicas))

    def _finish(self, end_s: float) -> None:
        """Requests that nobody took count as if the next replica came a cold start after the end."""
        self.outcome.replica_s += sum(end_s - one.asked_s for one in self.replicas)
        late_s = end_s + self.world.cold_start_s
        self.first_tokens += [(request.time_s, late_s - request.time_s) for request in self.queue]

    def _replica(self, now_s: float, *, ready_s: float) -> ReplicaModel:
        return ReplicaModel(self.world.pace, asked_s=now_s, ready_s=ready_s, capacity=self.world.capacity)

    def _summed(self, trace: Trace) -> Outcome:
        outcome, waits = self.outcome, sorted(ttft_s for _, ttft_s in self.first_tokens)
        outcome.requests = len(trace.arrivals)
        outcome.slo_violation_s = violation_seconds(self.first_tokens, self.world.ttft_s)
        outcome.usd = outcome.replica_s / 3600 * self.world.usd_per_replica_hour
        if waits:
            outcome.ttft_p95_s, outcome.ttft_max_s = waits[int(0.95 * (len(waits) - 1))], waits[-1]
        return outcome


def violation_seconds(first_tokens: Iterable[tuple[float, float]], goal_s: float) -> int:
    """Seconds in which more than `MISSED_SHARE` of the requests that arrived waited longer than the goal."""
    seconds: dict[int, list[int]] = {}
    for arrived_s, ttft_s in first_tokens:
        counts = seconds.setdefault(int(arrived_s), [0, 0])
        counts[0] += 1
        counts[1] += ttft_s > goal_s
    return sum(missed > MISSED_SHARE * all_ for all_, missed in seconds.values())
