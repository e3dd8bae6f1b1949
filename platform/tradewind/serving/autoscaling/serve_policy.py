"""Our policies as one of Ray Serve's: made once for a deployment, called in each round of Serve's control loop.

Checked against Ray 2.60: a class given as `AutoscalingPolicy(policy_function=…)` is constructed with `policy_kwargs`
when the deployment is registered, again when its configuration changes or the controller is restarted, and keeps its
state in between. The call runs in the controller's event loop, so it waits for nothing: it asks the watch for signals
and uses the answer that is there at the next call. Serve applies the deployment's bounds and its own delays to what is
returned; the delays are to be 0. It goes to zero replicas only from one.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any

from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.policies import policy
from tradewind.serving.autoscaling.policies.tokens import ROOM
from tradewind.serving.autoscaling.signals import ReplicaSignal, Signals
from tradewind.serving.autoscaling.ticks import TICK_S, tick_of
from tradewind.serving.autoscaling.watch import Watch
from tradewind.serving.replica import capacity_of
from tradewind.specs import ServeSpec
from tradewind.storage.home import default_url

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

STALE_AFTER_S = 3.0
"""Signals that are older than this decide nothing: what is there stays."""
ASK_EVERY_S = 0.1
ROOM_OF_PROFILE = {"latency": 1.5 * ROOM, "balanced": ROOM, "throughput": 0.4 * ROOM}

log = logging.getLogger(__name__)


class ServePolicy:
    """`spec` is a ServeSpec's, `workspace` the URL where decisions are written, else the spec's or the default one."""

    def __init__(self, spec: dict[str, Any], workspace: str | None = None) -> None:
        self._spec = ServeSpec.of(**spec)
        assert self._spec.scaling is not None
        self._name, self._warm = self._spec.scaling.policy, self._spec.scaling.warm
        self._limits = Limits.of(self._spec.scaling)
        self._settings = settings_of(self._spec)
        self._policy = policy(self._name, self._limits, **self._settings)
        self._store_url = workspace or self._spec.workspace or default_url()
        self._capacity = capacity_of(self._spec)
        self._watch: Any = None
        self._asked: Future[Any] | None = None
        self._asked_s = 0.0
        self._board: Any = None
        self._tick = 0

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """The replicas that there should be, for now; the state that Serve would keep for a function is not used."""
        now_s = ctx.current_time or time.time()
        self._ask(ctx.app_name or "", now_s)
        tick = tick_of(now_s)
        if tick > self._tick and self._board and now_s - self._board.time_s < STALE_AFTER_S:
            self._tick = tick
            return self._decide(ctx, tick), {}
        return ctx.target_num_replicas, {}

    def _ask(self, application: str, now_s: float) -> None:
        if self._watch is None:
            self._watch = self._make_watch(application)
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            self._take(asked)
        if self._asked is None and self._watch and now_s - self._asked_s >= ASK_EVERY_S:
            self._asked, self._asked_s = self._watch.signals.remote().future(), now_s

    def _take(self, asked: Future[Any]) -> None:
        from ray.exceptions import RayActorError, RayTaskError

        error = asked.exception()
        if error is None:
            self._board = asked.result()
        elif isinstance(error, RayActorError) and not isinstance(error, RayTaskError):
            log.warning("the watch of endpoint %s is gone and made again: %s", self._spec.name, error)
            self._watch = None
        else:
            log.debug("the front does not answer yet: %s", error)

    def _decide(self, ctx: AutoscalingContext, tick: int) -> int:
        more = self._spec.base - self._warm
        target = ctx.target_num_replicas + more
        signals = signals_from(self._board, time_s=tick * TICK_S, target=target, capacity=self._capacity)
        decision = self._policy.decide(signals)
        self._watch.see.remote(signals, decision)
        if self._warm:
            self._watch.want.remote(decision.target)
        return max(self._warm, decision.target - more)

    def _make_watch(self, application: str) -> Any:
        """Serve's controller owns it, so it ends when the controller drops this policy."""
        import ray

        actor = ray.remote(Watch).options(num_cpus=0, max_concurrency=100)
        return actor.remote(application, self._spec.name, self._store_url, self._name, self._limits, self._settings)


def settings_of(spec: ServeSpec) -> dict[str, float]:
    """What the spec says beyond the limits, for a policy that knows these settings."""
    if spec.scaling is None or spec.scaling.policy != "tokens":
        return {}
    return {"room": ROOM_OF_PROFILE[spec.profile], "slots": float(spec.slots)}


def signals_from(board: Any, *, time_s: float, target: int, capacity: float) -> Signals:
    """A board's signals. Replicas that were asked for and have not reported yet are starting, with this capacity.

    Of those that say that they start, no more are than were asked for: others replace some, or will be spare.
    """
    others = sum(one.status == "ready" for one in board.replicas)
    starting = islice((one for one in board.replicas if one.status == "starting"), max(0, target - others))
    counted = [*(one for one in board.replicas if one.status != "starting"), *starting]
    replicas = [
        ReplicaSignal(
            one.status, one.running, one.waiting, one.tokens_in_flight, one.kv_use, one.ttft_p95_s, one.capacity
        )
        for one in counted
    ]
    silent = target - sum(one.status != "draining" for one in replicas)
    replicas += [ReplicaSignal("starting", capacity=capacity)] * max(0, silent)
    return Signals(time_s, target, tuple(replicas), board.queued, board.arrivals_per_s, board.tokens_per_s)
