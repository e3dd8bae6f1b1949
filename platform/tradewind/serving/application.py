"""An endpoint as an application of Ray Serve: a front that people talk to, and the replicas behind it.

`serve deploy` and `serve run` call `build` with the arguments in their file; `tw serve` reads the same file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tradewind.clusters.overlay.node_files import MARKET
from tradewind.errors import TradewindError
from tradewind.ledger import this_team
from tradewind.serving.elsewhere import Elsewhere, files_of
from tradewind.serving.entry import Entry, Wish
from tradewind.serving.front.settings import FrontSettings
from tradewind.serving.hosts import ACCELERATOR, fastest_pace, hosts, wanted_families
from tradewind.serving.markets import STAYS, burst_of
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.replica import Replica, ReplicaPlan, told
from tradewind.serving.room import check_names, check_room
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store
from tradewind.storage.home import default_url
from tradewind.versions import version_of

if TYPE_CHECKING:
    from ray.serve import Application, Deployment
    from ray.serve.config import AutoscalingConfig

FRONT = "Front"
HEALTH_EVERY_S = 2.0
STOP_MARGIN_S = 10.0
"""Beyond `drain_s`, until Serve kills a replica: for the engine's end and the last rows of the ledger."""
SHUTDOWN_LOOK_S = 0.1
HEAD = {"node:__internal_head__": 0.001}
"""A resource that the head of every Ray cluster has."""


def build(args: dict[str, Any]) -> Application:
    """The application for the arguments of a Serve file, which are a ServeSpec's.

    Raises RayServeException with our error's words: it alone makes Serve give up at once and show what is wrong.
    """
    from ray.serve.exceptions import RayServeException

    try:
        spec = ServeSpec.of(**args)
        check_names(spec)
        store = open_store(spec.workspace or default_url())
        files = files_of(store, spec)
        check_room(spec, files)
        return application(spec, store, files, fastest=fastest_chip(spec), is_recorded=True)
    except TradewindError as exc:
        raise RayServeException(told(exc)) from exc


def application(
    spec: ServeSpec,
    store: Store,
    files: ModelFiles,
    *,
    is_own: bool = False,
    fastest: float | None = None,
    is_recorded: bool = False,
) -> Application:
    """The front bound to the replicas' deployments. On a Ray of our own a replica reserves no processor.

    Training there would otherwise wait for it without end; and its port is for this machine alone. `fastest` is the
    pace of the fastest chip that a replica may get. With `is_recorded` the front writes down that the endpoint is up.
    """
    plan = ReplicaPlan(spec, store, files, team=this_team(), host="127.0.0.1" if is_own else "", fastest=fastest)
    wish = Wish(spec.model_dump(mode="json"), files.reference, store.url, is_recorded)
    front = _front(spec, None if is_own else wish)
    if spec.targets:
        return front.bind(front_settings(spec), Elsewhere(store, spec.name, files.reference, this_team()))
    num_cpus = 0 if is_own else 1
    one_replica = spec.model_copy(update={"replicas": 1, "scaling": None, "base": 0})
    replicas = [
        _versioned(one, one_replica, files.reference, store.url).bind(plan)
        for one in _deployments(spec, store.url, num_cpus, is_own=is_own)
    ]
    return front.bind(front_settings(spec), *replicas)


def fastest_chip(spec: ServeSpec) -> float | None:
    """Bytes a second of the fastest chip in this Ray that a replica may get; None for one on processors."""
    return fastest_pace(spec, hosts()) if spec.chips else None


def front_settings(spec: ServeSpec) -> FrontSettings:
    """What a front is told. A new version of a model changes none of it, so the front stays up through it.

    While no replica is ready, the front holds what the first one will take: its slots, and its queue.
    """
    return FrontSettings(
        host=spec.host,
        port=spec.port,
        first_answer_s=spec.first_answer_s,
        queue=spec.slots + spec.queue,
        drain_s=spec.drain_s,
        targets=spec.targets,
    )


def _front(spec: ServeSpec, wish: Wish | None) -> Deployment:
    from ray import serve

    deployment = serve.deployment(
        name=FRONT,
        num_replicas=1,
        user_config=wish.told() if wish else None,
        max_ongoing_requests=10_000,
        logging_config={"enable_access_log": False},  # each replica reports twice a second
        ray_actor_options={"num_cpus": 0, "resources": HEAD},
        graceful_shutdown_wait_loop_s=SHUTDOWN_LOOK_S,
        graceful_shutdown_timeout_s=spec.drain_s + STOP_MARGIN_S,
        health_check_period_s=HEALTH_EVERY_S,
    )(Entry)
    return _versioned(deployment, front_settings(spec))


def _versioned(deployment: Deployment, *what: object) -> Deployment:
    """One version for the same wish, so that a second deployment changes only what differs. Serve would draw lots."""
    text = repr((version_of("tradewind"), *what))
    return deployment.options(version=hashlib.sha256(text.encode()).hexdigest()[:16], _internal=True)


def _deployments(spec: ServeSpec, store_url: str, num_cpus: int, *, is_own: bool) -> list[Deployment]:
    """One of the replicas that stay, where the spec has a base, and one of the others.

    A Ray of our own is one machine, whose market nobody has said.
    """
    found = []
    if spec.base:
        market = None if is_own else STAYS
        found.append(_replicas(spec, store_url, "Base", num_cpus, market=market, count=spec.base))
    if spec.most_replicas > spec.base:
        market = None if is_own else burst_of(spec)
        scaled = {"count": spec.replicas - spec.base} if spec.scaling is None else {}
        found.append(_replicas(spec, store_url, "Replica", num_cpus, market=market, **scaled))
    return found


def _replicas(
    spec: ServeSpec, store_url: str, name: str, num_cpus: int, *, market: str | None, count: int | None = None
) -> Deployment:
    from ray import serve

    labels = _labels(spec, market)
    number = {"autoscaling_config": _scaling(spec, store_url)} if count is None else {"num_replicas": count}
    return serve.deployment(
        name=name,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": num_cpus, **_chips(spec, labels)},
        graceful_shutdown_wait_loop_s=SHUTDOWN_LOOK_S,
        graceful_shutdown_timeout_s=spec.drain_s + STOP_MARGIN_S,
        health_check_period_s=HEALTH_EVERY_S,
        **number,
        **_bundles(spec, num_cpus, labels),
    )(Replica)


def _chips(spec: ServeSpec, labels: dict[str, str]) -> dict[str, Any]:
    if spec.parallel.pipeline > 1:
        return {}  # those of its group
    chips = {"num_gpus": spec.chips} if spec.chips else {}
    return {**chips, "label_selector": labels} if labels else chips


def _bundles(spec: ServeSpec, num_cpus: int, labels: dict[str, str]) -> dict[str, Any]:
    """Stages may lie on several nodes: a group with a bundle for each chip, close together where there is room."""
    if spec.parallel.pipeline == 1:
        return {}
    first, rest = {"CPU": max(1, num_cpus), "GPU": 1}, {"GPU": 1}
    return {
        "placement_group_bundles": [first, *[rest] * (spec.chips - 1)],
        "placement_group_strategy": "PACK",
        **({"placement_group_bundle_label_selector": [labels]} if labels else {}),
    }


def _labels(spec: ServeSpec, market: str | None) -> dict[str, str]:
    """Those that a node must have."""
    wanted = {MARKET: market} if market else {}
    chips = wanted_families(spec) if spec.chips else []
    return {**wanted, ACCELERATOR: f"in({','.join(chips)})"} if chips else wanted


def _scaling(spec: ServeSpec, store_url: str) -> AutoscalingConfig:
    """Serve's own delays are 0: when to react is the policy's to say."""
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    scaling = spec.scaling
    assert scaling is not None
    least = max(0, scaling.min - spec.base)
    return AutoscalingConfig(
        min_replicas=least + scaling.warm,
        max_replicas=scaling.max - spec.base + scaling.warm,
        initial_replicas=least + scaling.warm,
        upscale_delay_s=0,
        downscale_delay_s=0,
        downscale_to_zero_delay_s=0,
        metrics_interval_s=0.5,
        look_back_period_s=1.0,
        policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
            policy_function="tradewind.serving.autoscaling.serve_policy:ServePolicy",
            policy_kwargs={"spec": spec.model_dump(mode="json"), "workspace": store_url},
        ),
    )
