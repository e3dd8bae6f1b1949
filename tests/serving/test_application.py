"""How a spec becomes deployments of Ray Serve, without starting any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.serve._private.build_app import build_app
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeDeploySchema

from tradewind.registry import Models
from tradewind.serving.application import application, build, front_settings
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path))
    models = Models(store)
    for data in (b"1", b"2"):
        files: dict[str, bytes | Path] = {"config.json": data}
        models.add("pilot", files, parents=(), family="llama", parameters=1, context=1, heldout_loss=None, card={})
    return store


def deployments(store: Store, *, is_own: bool = False, **changes: Any) -> dict[str, Any]:
    spec = ServeSpec.of(**({"name": "chat", "model": "pilot@1", "engine": "echo"} | changes))
    app = application(spec, store, ModelFiles.of(store, spec.model), is_own=is_own)
    return {one.name: one for one in build_app(app, name="chat").deployments}


def options(deployment: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployment._replica_config.ray_actor_options
    return found


def test_front_stands_before_the_replicas_on_the_head(store: Store) -> None:
    made = deployments(store, replicas=3)
    assert set(made) == {"Front", "Replica"}
    assert made["Replica"].num_replicas == 3
    assert (made["Front"].num_replicas, options(made["Front"])["num_cpus"]) == (1, 0)
    assert "node:__internal_head__" in options(made["Front"])["resources"]


def test_replica_reserves_a_processor_on_a_cluster_and_none_on_a_ray_of_our_own(store: Store) -> None:
    assert options(deployments(store)["Replica"])["num_cpus"] == 1
    assert options(deployments(store, is_own=True)["Replica"])["num_cpus"] == 0


def test_replica_has_its_chips_and_asks_for_their_kind(store: Store) -> None:
    made = deployments(store, parallel={"tensor": 4}, where={"chips": ["H100-SXM", "H200", "cpu"]})
    assert options(made["Replica"])["num_gpus"] == 4
    assert options(made["Replica"])["label_selector"] == {"ray.io/accelerator-type": "in(H100,H200)"}


def test_stages_get_a_group_with_a_bundle_for_each_chip(store: Store) -> None:
    config = deployments(store, parallel={"tensor": 2, "pipeline": 2})["Replica"]._replica_config
    assert config.placement_group_bundles == [{"CPU": 1, "GPU": 1}, {"GPU": 1}, {"GPU": 1}, {"GPU": 1}]
    assert config.placement_group_strategy == "PACK"
    assert config.placement_group_bundle_label_selector is None
    assert "num_gpus" not in config.ray_actor_options


def test_base_stays_on_demand_and_the_burst_is_spot(store: Store) -> None:
    made = deployments(store, replicas=5, base=2, burst="spot")
    assert (made["Base"].num_replicas, made["Replica"].num_replicas) == (2, 3)
    assert options(made["Base"])["label_selector"] == {"tradewind-market": "!spot"}
    assert options(made["Replica"])["label_selector"] == {"tradewind-market": "spot"}
    own = deployments(store, replicas=5, base=2, burst="spot", is_own=True)
    assert "label_selector" not in options(own["Base"]) | options(own["Replica"])
    assert set(deployments(store, replicas=2, base=2)) == {"Front", "Base"}


def test_stages_ask_for_their_kind_of_chip_in_each_bundle(store: Store) -> None:
    made = deployments(store, parallel={"pipeline": 2}, where={"chips": ["H200"]}, base=1)["Base"]._replica_config
    wanted = {"tradewind-market": "!spot", "ray.io/accelerator-type": "in(H200)"}
    assert made.placement_group_bundle_label_selector == [wanted, wanted]
    assert "label_selector" not in made.ray_actor_options


def test_warm_replicas_come_on_top_of_the_bounds(store: Store) -> None:
    scaling = deployments(store, scaling={"min": 1, "max": 4, "warm": 2})[
        "Replica"
    ]._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas) == (3, 3, 6)


def test_drain_is_over_before_serve_kills_a_replica(store: Store) -> None:
    config = deployments(store, drain_s=45)["Replica"]._deployment_config
    assert config.graceful_shutdown_timeout_s > 45


def test_same_wish_has_the_same_version_and_a_new_model_leaves_the_front_alone(store: Store) -> None:
    first, again, other = deployments(store), deployments(store), deployments(store, model="pilot@2")
    assert first["Replica"]._version == again["Replica"]._version != other["Replica"]._version
    assert first["Front"]._version == other["Front"]._version
    assert deployments(store, port=8009)["Front"]._version != first["Front"]._version


def test_more_replicas_are_no_new_version(store: Store) -> None:
    assert deployments(store, replicas=1)["Replica"]._version == deployments(store, replicas=3)["Replica"]._version


def test_front_listens_where_the_spec_says() -> None:
    settings = front_settings(ServeSpec.of(name="chat", model="pilot", host="0.0.0.0", port=8123, first_answer_s="5s"))
    assert (settings.host, settings.port, settings.first_answer_s) == ("0.0.0.0", 8123, 5)


def test_front_holds_what_the_first_replica_will_take() -> None:
    assert front_settings(ServeSpec.of(name="chat", model="pilot", max_concurrency=4, queue=20)).queue == 24


def test_replicas_know_the_fastest_chip_and_it_makes_no_new_version(store: Store) -> None:
    spec = ServeSpec.of(name="chat", model="pilot@1", engine="echo")
    files = ModelFiles.of(store, spec.model)
    made = [build_app(application(spec, store, files, fastest=pace), name="chat") for pace in (None, 4.8e12)]
    one, other = (next(one for one in app.deployments if one.name == "Replica") for app in made)
    assert other.init_args[0].fastest == 4.8e12
    assert one._version == other._version


def test_arguments_of_a_serve_file_make_the_application(store: Store) -> None:
    app = build({"name": "chat", "model": "pilot", "engine": "echo", "workspace": store.url})
    assert {one.name for one in build_app(app, name="chat").deployments} == {"Front", "Replica"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "pilto"}, r"did you mean 'pilot'\?"),
        ({"prot": 1}, r"did you mean 'port'\?"),
        ({"engine": "ecko"}, r"did you mean 'echo'\?"),
        ({"chips_per_replica": -1}, "chips_per_replica"),
        ({"engine": "echo", "model": "/nowhere"}, r"has no config\.json \(name the folder"),
    ],
)
def test_mistakes_in_arguments_are_told_in_the_only_way_that_serve_shows_at_once(
    store: Store, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RayServeException, match=complaint):
        build({"name": "chat", "model": "pilot", "engine": "echo", "workspace": store.url} | changes)


@pytest.mark.parametrize("path", sorted((ROOT / "serve_apps").glob("*.yaml")), ids=lambda path: path.name)
def test_file_in_the_repository_is_one_of_ray_serve(path: Path) -> None:
    import yaml

    read = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    specs = ServeSpec.load_all(path)
    assert [one.name for one in read.applications] == [spec.name for spec in specs]
    assert len({one.route_prefix for one in read.applications}) == len(specs)
