"""Endpoints on a real Ray Serve: brought up, changed, failing, taken down."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import tradewind as tw
from tests.conftest import free_port
from tests.serving.listening import process_at
from tradewind.errors import RunError
from tradewind.ledger import Ledger
from tradewind.registry import Models
from tradewind.serving import Endpoint
from tradewind.serving.application import application
from tradewind.serving.endpoint import run
from tradewind.serving.model_files import ModelFiles

pytestmark = pytest.mark.slow

ECHO = {"each_s": 0.02}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.Workspace]:
    with tw.Workspace(str(tmp_path_factory.mktemp("workspace"))) as place:
        models = Models(place.store)
        for _ in range(2):
            files: dict[str, bytes | Path] = {"config.json": b"{}"}
            models.add("pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={})
        yield place


def spec(name: str, **changes: Any) -> tw.ServeSpec:
    values = {"name": name, "model": "pilot@1", "engine": "echo", "port": free_port(), "engine_settings": ECHO}
    return tw.ServeSpec.of(**(values | changes))


@pytest.fixture(scope="module")
def endpoint(workspace: tw.Workspace) -> Endpoint:
    """Two replicas, which are up as long as the module's tests need them."""
    return workspace.serve(spec("chat", replicas=2, drain_s=10))


def ask(endpoint: Endpoint, **changes: Any) -> httpx.Response:
    body = {"model": endpoint.record.model, "prompt": "the quay", "max_tokens": 5} | changes
    return httpx.post(f"{endpoint.url}/v1/completions", json=body, timeout=60)


def wait_for(what: Callable[[], object], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


class Asking:
    """Streams that are asked for one after another by several threads, until told to stop."""

    def __init__(self, endpoint: Endpoint, *, clients: int = 4) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._endpoint = endpoint
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._is_over.is_set():
                try:
                    self._ask_once(client)
                except httpx.HTTPError as exc:
                    self.failures.append(repr(exc))

    def _ask_once(self, client: httpx.Client) -> None:
        body = {"model": "pilot", "prompt": "the quay", "max_tokens": 10, "stream": True}
        with client.stream("POST", f"{self._endpoint.url}/v1/completions", json=body) as answer:
            lines = [line for line in answer.iter_lines() if line]
        if answer.status_code != 200 or lines[-1] != "data: [DONE]":
            self.failures.append(f"{answer.status_code} {lines[-1:]}")
        self.answers += 1


def test_endpoint_answers_through_its_front(endpoint: Endpoint) -> None:
    answer = ask(endpoint)
    assert answer.status_code == 200
    assert answer.json()["model"] == "pilot@1"
    assert {one["status"] for one in endpoint.replicas()} == {"ready"}
    assert len(endpoint.replicas()) == 2
    assert {"up", "fetch", "engine"} <= set(endpoint.record.phases)


def test_replicas_have_ports_of_their_own(endpoint: Endpoint) -> None:
    urls = {one["url"] for one in endpoint.replicas()}
    assert len(urls) == 2
    told = [json.load(urllib.request.urlopen(f"{url}/replica")) for url in urls]
    assert {one["replica"] for one in told} == {one["replica"] for one in endpoint.replicas()}


def test_no_request_is_lost_when_replicas_leave_and_come(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    with Asking(endpoint) as asking:
        for replicas in (1, 2):
            change(workspace, endpoint, replicas=replicas)
            wait_for_ready(endpoint, replicas)
        wait_for(lambda: asking.answers > 20)
    assert asking.failures == []


def test_no_request_is_lost_when_a_new_version_comes(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    before = {one["replica"] for one in endpoint.replicas()}
    with Asking(endpoint) as asking:
        change(workspace, endpoint, model="pilot@2")
        wait_for(lambda: ready(endpoint) == 2 and not before & ready_ones(endpoint))
    assert asking.failures == []
    assert ask(endpoint, model="pilot@2").status_code == 200


def test_killed_replica_is_replaced_and_only_streams_that_had_begun_are_lost(
    workspace: tw.Workspace, endpoint: Endpoint
) -> None:
    import ray

    victim = endpoint.replicas()[0]["replica"]
    with Asking(endpoint) as asking:
        wait_for(lambda: asking.answers > 8)
        names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if victim in one["name"]]
        ray.kill(ray.get_actor(names[0], namespace="serve"), no_restart=True)
        wait_for(lambda: victim not in ready_ones(endpoint) and ready(endpoint) == 2)
    assert len(asking.failures) <= 4  # one stream of each client, at most
    assert ask(endpoint, model="pilot").status_code == 200


def test_replica_that_is_told_to_end_drains_and_another_comes(endpoint: Endpoint) -> None:
    wait_for_ready(endpoint, 2)
    with Asking(endpoint) as asking:
        wait_for(lambda: asking.answers > 8)
        victim = next(one for one in endpoint.replicas() if one["replica"] in ready_ones(endpoint))
        process = process_at(victim["url"])
        body = {"model": "pilot", "prompt": "the quay", "max_tokens": 100, "stream": True}
        with httpx.stream("POST", f"{victim['url']}/v1/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.terminate()
            wait_for(
                lambda: [one["status"] for one in endpoint.replicas() if one["url"] == victim["url"]] == ["draining"]
            )
            assert [line for line in lines if line][-1] == "data: [DONE]"
        process.wait(20)
        wait_for(lambda: ready(endpoint) == 2 and victim["replica"] not in ready_ones(endpoint))
    assert asking.failures == []


def test_what_was_answered_is_in_the_ledger(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    def tokens() -> int:
        return sum(row.tokens_out for row in workspace.usage() if row.subject == "endpoint:chat")

    time.sleep(2.5)  # rows of earlier tests come every 2 s
    before = tokens()
    assert ask(endpoint, model="pilot").json()["usage"]["completion_tokens"] == 5
    wait_for(lambda: tokens() >= before + 5)


def test_second_endpoint_stands_beside_the_first(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    second = workspace.serve(spec("talk"))
    assert ask(second).status_code == 200
    second.stop()
    assert not workspace.endpoints.get("talk").is_up
    assert ask(endpoint, model="pilot").status_code == 200


def test_endpoint_without_load_goes_to_zero_and_the_next_request_brings_it_back(workspace: tw.Workspace) -> None:
    scaling = {"min": 0, "max": 2, "idle_to_zero_s": 1, "down_after_s": 1, "cool_down_s": 1, "cold_start_s": 2}
    asleep = workspace.serve(spec("asleep", scaling=scaling))
    try:
        assert asleep.replicas() == []
        began = time.monotonic()
        assert ask(asleep).status_code == 200
        print(f"first answer after {time.monotonic() - began:.1f} s")  # read by hand: pytest -s
        assert ready(asleep) == 1
        wait_for(lambda: not ready(asleep), timeout_s=60)
    finally:
        asleep.stop()


def test_engine_that_cannot_start_is_named_with_what_to_do(workspace: tw.Workspace) -> None:
    with pytest.raises(RunError, match=r"endpoint 'broken' did not start: .*'frist_s'.*first_s"):
        workspace.serve(spec("broken", engine_settings={"frist_s": 1}))
    assert "broken" not in {one.name for one in workspace.endpoints.list()}


def test_file_of_ray_serve_is_deployed_by_serve_itself(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    port = free_port()
    config: dict[str, Any] = {
        "proxy_location": "Disabled",
        "applications": [
            {
                "name": "filed",
                "route_prefix": "/filed",
                "import_path": "tradewind.serving.application:build",
                "args": {
                    "name": "filed",
                    "model": "pilot@1",
                    "engine": "echo",
                    "port": port,
                    "workspace": workspace.url,
                },
            }
        ],
    }
    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    wait_for(lambda: serve.status().applications["filed"].status == "RUNNING", timeout_s=60)
    wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/replicas").json())
    body = {"model": "pilot", "prompt": "the quay", "max_tokens": 5}
    assert httpx.post(f"http://127.0.0.1:{port}/v1/completions", json=body).status_code == 200
    found = workspace.endpoints.get("filed")
    assert (found.is_up, found.url, found.record.model) == (True, f"http://127.0.0.1:{port}", "pilot@1")
    config["applications"][0]["args"] |= {"model": "pilot@2", "prefetch": True}
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    wait_for(lambda: workspace.endpoints.get("filed").record.model == "pilot@2", timeout_s=60)
    config["applications"][0]["args"]["model"] = "pilto"
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    wait_for(lambda: serve.status().applications["filed"].status == "DEPLOY_FAILED", timeout_s=60)
    assert "no model named 'pilto' (did you mean 'pilot'?)" in serve.status().applications["filed"].message
    assert workspace.endpoints.get("filed").is_up
    serve.delete("filed")
    assert not workspace.endpoints.get("filed").is_up


def change(workspace: tw.Workspace, endpoint: Endpoint, **changes: Any) -> None:
    """Deploy the endpoint again with another wish."""
    wish = tw.ServeSpec.of(**endpoint.record.spec).with_values(**changes)
    run(application(wish, workspace.store, ModelFiles.of(workspace.store, wish.model), is_own=True), wish.name)


def ready(endpoint: Endpoint) -> int:
    return len(ready_ones(endpoint))


def wait_for_ready(endpoint: Endpoint, replicas: int) -> None:
    wait_for(lambda: ready(endpoint) == replicas)


def ready_ones(endpoint: Endpoint) -> set[str]:
    """Names of the replicas that get requests now."""
    return {
        one["replica"]
        for one in endpoint.replicas()
        if one["status"] == "ready" and not one["refused"] and one["silent_s"] < 3
    }


def test_predictor_is_served_like_any_model(workspace: tw.Workspace, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"factor": 3}')
    scale = {"predictor": "tests.engines.predict.toys:Scale"}
    endpoint = workspace.serve(spec("scale", model=str(tmp_path), engine="predict", engine_settings=scale))
    try:
        answers = [
            httpx.post(f"{endpoint.url}/v1/predict", json={"inputs": [n, n + 1]}, timeout=60).json() for n in range(20)
        ]
        assert [one["outputs"] for one in answers] == [[3 * n, 3 * n + 3] for n in range(20)]
        late = httpx.post(f"{endpoint.url}/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": "0.001"})
        assert late.status_code == 504
    finally:
        endpoint.stop()
    rows = [row for row in Ledger(workspace.store).rows() if row.subject == "endpoint:scale"]
    assert sum(row.tokens_out for row in rows) == 40


def test_server_that_is_there_already_is_a_target(workspace: tw.Workspace, endpoint: Endpoint) -> None:
    """Another endpoint's front is an OpenAI server like any other."""
    targets = [endpoint.url]
    through = workspace.serve(tw.ServeSpec.of(name="through", model="pilot", targets=targets, port=free_port()))
    try:
        answer = ask(through)
        assert (through.record.engine, through.record.model) == ("elsewhere", answer.json()["model"])
        assert answer.json()["usage"]["completion_tokens"] == 5
        assert [one["url"] for one in through.replicas()] == targets
    finally:
        through.stop()
    rows = [row for row in Ledger(workspace.store).rows() if row.subject == "endpoint:through"]
    assert [(row.requests, row.tokens_out, row.usd) for row in rows] == [(1, 5, 0)]
