"""An endpoint as an application of Ray Serve: a front that people talk to, and the replicas behind it.

`serve deploy` and `serve run` call `build` with the arguments in their file; `tw serve` reads the same file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tradewind.errors import TradewindError
from tradewind.ledger import this_team
from tradewind.serving.front.deployment import Front
from tradewind.serving.front.settings import FrontSettings
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

FRONT, REPLICA, BASE = "Front", "Replica", "Base"
HEALTH_EVERY_S = 2.0
STOP_MARGIN_S = 10.0
"""Beyond `drain_s`, until Serve kills a replica: for the engine's end and the last rows of the ledger."""
SHUTDOWN_LOOK_S = 0.1
HEAD = {"node:__internal_head__": 0.001}
"""A resource that the head of every Ray cluster has."""
MARKET = "ray.io/market-type"
ACCELERATOR = "ray.io/accelerator-type"
"""Labels that Ray gives its nodes: the first from `RAY_NODE_MARKET_TYPE`, `spot` or `on-demand`."""
MARKETS = {"spot": "spot", "on_demand": "on-demand"}


def build(args: dict[str, Any]) -> Application:
    """The application for the arguments of a Serve file, which are a ServeSpec's.

    Raises RayServeException with our error's words: it alone makes Serve give up at once and show what is wrong.
    """
    from ray.serve.exceptions import RayServeException

    try:
        spec = ServeSpec.of(**args)
        check_names(spec)
        store = open_store(spec.workspace or default_url())
        check_room(spec)
        return application(spec, store, ModelFiles.of(store, spec.model))
    except TradewindError as exc:
        raise RayServeException(told(exc)) from exc


def application(spec: ServeSpec, store: Store, files: ModelFiles, *, is_own: bool = False) -> Application:
    """The front bound to the replicas' deployments. On a Ray of our own a replica reserves no processor.

    Training there would otherwise wait for it without end; and its port is for this machine alone.
    """
    plan = ReplicaPlan(spec, store, files, team=this_team(), host="127.0.0.1" if is_own else "")
    num_cpus = 0 if is_own else 1
    one_replica = spec.model_copy(update={"replicas": 1, "scaling": None, "base": 0})
    replicas = [
        _versioned(one, one_replica, files.reference, store.url).bind(plan)
        for one in _deployments(spec, store.url, num_cpus)
    ]
    return _front(spec).bind(front_settings(spec), *replicas)


def front_settings(spec: ServeSpec) -> FrontSettings:
    """What a front is told. A new version of a model changes none of it, so the front stays up through it."""
    return FrontSettings(host=spec.host, port=spec.port, first_answer_s=spec.first_answer_s, drain_s=spec.drain_s)


class Entry(Front):
    """The front. The replicas are bound to it so that they belong to its application; it reaches them by itself."""

    def __init__(self, settings: FrontSettings, *_: Any) -> None:
        super().__init__(settings)


def _front(spec: ServeSpec) -> Deployment:
    from ray import serve

    deployment = serve.deployment(
        name=FRONT,
        num_replicas=1,
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


def _deployments(spec: ServeSpec, store_url: str, num_cpus: int) -> list[Deployment]:
    """One of the replicas that stay, where the spec has a base, and one of the others."""
    found = []
    if spec.base:
        found.append(_replicas(spec, store_url, BASE, num_cpus, market="on_demand", count=spec.base))
    if spec.most_replicas > spec.base:
        market = "spot" if spec.burst == "spot" else None
        scaled = {"count": spec.replicas - spec.base} if spec.scaling is None else {}
        found.append(_replicas(spec, store_url, REPLICA, num_cpus, market=market, **scaled))
    return found


def _replicas(
    spec: ServeSpec, store_url: str, name: str, num_cpus: int, *, market: str | None, count: int | None = None
) -> Deployment:
    from ray import serve

    number = {"autoscaling_config": _scaling(spec, store_url)} if count is None else {"num_replicas": count}
    return serve.deployment(
        name=name,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": num_cpus, **_chips(spec), **_labels(spec, market)},
        graceful_shutdown_wait_loop_s=SHUTDOWN_LOOK_S,
        graceful_shutdown_timeout_s=spec.drain_s + STOP_MARGIN_S,
        health_check_period_s=HEALTH_EVERY_S,
        **number,
        **_bundles(spec, num_cpus),
    )(Replica)


def _chips(spec: ServeSpec) -> dict[str, Any]:
    return {"num_gpus": spec.chips} if spec.chips and spec.parallel.pipeline == 1 else {}


def _bundles(spec: ServeSpec, num_cpus: int) -> dict[str, Any]:
    """Stages may lie on several nodes: a group with a bundle for each chip, close together where there is room."""
    if spec.parallel.pipeline == 1:
        return {}
    first, rest = {"CPU": max(1, num_cpus), "GPU": 1}, {"GPU": 1}
    return {
        "placement_group_bundles": [first, *[rest] * (spec.chips - 1)],
        "placement_group_strategy": "PACK",
    }


def _labels(spec: ServeSpec, market: str | None) -> dict[str, Any]:
    chips = sorted({chip.partition("-")[0].upper() for chip in spec.where.chips if chip.lower() != "cpu"})
    wanted = {MARKET: MARKETS[market]} if market else {}
    if chips:
        wanted[ACCELERATOR] = f"in({','.join(chips)})"
    return {"label_selector": wanted} if wanted else {}


def _scaling(spec: ServeSpec, store_url: str) -> AutoscalingConfig:
    """Serve's own delays are 0: when to react is the policy's to say."""
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    scaling = spec.scaling
    assert scaling is not None
    least = max(0, scaling.min - spec.base)
    return AutoscalingConfig(
        min_replicas=least,
        max_replicas=scaling.max - spec.base,
        initial_replicas=least,
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
