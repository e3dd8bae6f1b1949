"""What a real Ray Serve shows of an endpoint that cannot be: our sentence, at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tradewind as tw
from tests.conftest import free_port
from tradewind.errors import CapacityError, RunError
from tradewind.families.known import published
from tradewind.serving.application import application
from tradewind.serving.endpoint import quiet, run
from tradewind.serving.model_files import ModelFiles

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.Workspace]:
    """With an endpoint that is up, so that there is a Ray."""
    with tw.Workspace(str(tmp_path_factory.mktemp("workspace"))) as place:
        folder = large(tmp_path_factory.mktemp("any"))
        place.serve(tw.ServeSpec.of(name="there", model=str(folder), engine="echo", port=free_port()))
        yield place


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large(tmp_path_factory.mktemp("large"))


def large(folder: Path) -> Path:
    """The shape of a Llama with 405 billion weights, and none of them."""
    (folder / "config.json").write_text(json.dumps(dict(published("llama-3.1-405b").config)))
    return folder


def spec(name: str, model: Path, **changes: Any) -> tw.ServeSpec:
    return tw.ServeSpec.of(**{"name": name, "model": str(model), "port": free_port(), **changes})


def test_tw_serve_answers_before_anything_starts(workspace: tw.Workspace, large_model: Path) -> None:
    with pytest.raises(CapacityError, match=r"does not fit: a replica of 'large' needs .* too little") as caught:
        workspace.serve(spec("large", large_model))
    assert "a machine with" in str(caught.value.hint)


def test_serve_deploy_fails_with_the_same_words(workspace: tw.Workspace, large_model: Path) -> None:
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    args = {"name": "large", "model": str(large_model), "port": free_port(), "workspace": workspace.url}
    wish = {
        "name": "large",
        "route_prefix": "/large",
        "import_path": "tradewind.serving.application:build",
        "args": args,
    }
    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate({"proxy_location": "Disabled", "applications": [wish]}))
    end = time.monotonic() + 60
    while (status := serve.status().applications["large"]).status != "DEPLOY_FAILED":
        assert time.monotonic() < end
        time.sleep(0.05)
    serve.delete("large")
    assert "does not fit: a replica of 'large' needs" in status.message
    assert "what would fit: a machine with" in status.message


def test_replica_looks_again_where_it_was_placed(workspace: tw.Workspace, large_model: Path) -> None:
    """As on a cluster whose machines say nothing of their memory, or whose memory is taken by others."""
    from ray import serve

    wish = spec("placed", large_model)
    files = ModelFiles.of(workspace.store, wish.model)
    with quiet(), pytest.raises(RuntimeError, match="placed"):
        run(application(wish, workspace.store, files, is_own=True), wish.name)
    messages = [one.message for one in serve.status().applications["placed"].deployments.values()]
    serve.delete("placed")
    assert any("CapacityError" in message and "does not fit" in message for message in messages)


def test_precision_that_costs_too_much_is_not_served(workspace: tw.Workspace, tiny_model: Path) -> None:
    quality = {"text": "harbour quay sail wind cargo " * 40, "max_loss_increase": 0.0}
    with pytest.raises(RunError, match=r"quality gate: int8 changes the loss of .* allowed are 0\.00%"):
        workspace.serve(spec("coarse", tiny_model, precision="int8", quality=quality))
    assert "coarse" not in {one.name for one in workspace.endpoints.list()}
