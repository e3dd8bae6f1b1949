"""Endpoints whose server is there already: the echo engine's own app, as a process that knows nothing of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.serve._private.build_app import build_app
from ray.serve.exceptions import RayServeException

from tests.conftest import free_port
from tradewind.errors import RunError, SpecError
from tradewind.ledger import Ledger
from tradewind.serving.application import application, build
from tradewind.serving.elsewhere import Elsewhere, files_of
from tradewind.serving.front import Front, FrontSettings
from tradewind.serving.front.targets import tokens_said
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store

ROOT = Path(__file__).parents[2]
STOCK = """
import sys, uvicorn
from pathlib import Path
from fastapi import FastAPI
from tradewind.engines import EngineSettings, engine
served = engine("echo")
served.start(Path(), EngineSettings(names=(sys.argv[3],), more={"first_s": 0.02, "each_s": 0.01}))
app = FastAPI()
app.mount(sys.argv[2], served.app())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
"""
BODY = {"model": "stock/model", "prompt": "one two three", "max_tokens": 5}


@contextmanager
def stock_server(*, prefix: str = "", name: str = "stock/model", port: int | None = None) -> Iterator[tuple[str, Any]]:
    """A server and its process."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}{prefix}"
    with subprocess.Popen([sys.executable, "-c", STOCK, str(port), prefix, name]) as process:
        try:
            wait_for(lambda: answers(url))
            yield url, process
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/models").status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(what: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def front_of(*targets: str, **settings: Any) -> Iterator[tuple[Front, httpx.Client]]:
    front = Front(FrontSettings(**{"port": 0, "targets": targets, "first_answer_s": 20.0, "drain_s": 5.0, **settings}))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{front.port}", timeout=30) as client:
            yield front, client
    finally:
        front.stop()


def ask(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v1/completions", json=BODY | changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.mark.slow
def test_stock_server_answers_through_the_front_and_its_tokens_are_in_the_ledger(store: Store) -> None:
    with stock_server() as (url, _), front_of(url) as (front, client):
        meter = Elsewhere(store, "house", "stock/model", "pilots").metered(front)
        whole = ask(client).json()
        assert whole["usage"]["completion_tokens"] == 5
        streamed = ask(client, stream=True, stream_options={"include_usage": True}).text
        assert streamed.endswith("data: [DONE]\n\n")
        assert ask(client, stream=True).text.endswith("data: [DONE]\n\n")  # which says no usage
        assert ask(client, max_tokens=-1).status_code == 400
        assert front.answered_tokens() == (6, 10)
        (told,) = client.get("/replicas").json()
        assert (told["status"], told["models"], told["open"]) == ("ready", ["stock/model"], 0)
        meter.stop()
    rows = Ledger(store).rows()
    assert {(row.subject, row.model, row.team, row.usd, row.allocated_s) for row in rows} == {
        ("endpoint:house", "stock/model", "pilots", 0, 0)
    }
    assert [sum(getattr(row, name) for row in rows) for name in ("requests", "tokens_in", "tokens_out")] == [3, 6, 10]


@pytest.mark.slow
def test_server_under_a_path_is_asked_there() -> None:
    with stock_server(prefix="/llm") as (url, _), front_of(url) as (_, client):
        assert ask(client).json()["model"] == "stock/model"


@pytest.mark.slow
def test_second_target_answers_when_the_first_dies_and_the_first_comes_back() -> None:
    with stock_server() as (first, process), stock_server() as (second, _), front_of(first, second) as (_, client):
        wait_for(lambda: len(client.get("/replicas").json()) == 2)
        process.kill()
        assert [ask(client).status_code for _ in range(8)] == [200] * 8
        wait_for(lambda: client.get("/health").json()["ready"] == 1)
        with stock_server(port=int(first.rpartition(":")[2])):
            wait_for(lambda: client.get("/health").json()["ready"] == 2)
            assert ask(client).status_code == 200


@pytest.mark.slow
def test_name_of_the_model_is_the_targets_and_one_that_is_down_is_told(store: Store) -> None:
    spec = ServeSpec.of(name="house", model="house", targets=["http://127.0.0.1:9"])
    with pytest.raises(RunError, match=r"no target answers: http://127\.0\.0\.1:9"):
        files_of(store, spec)
    with pytest.raises(RayServeException, match="no target answers"):
        build({"name": "house", "model": "house", "targets": ["http://127.0.0.1:9"], "workspace": store.url})
    with stock_server() as (url, _):
        assert files_of(store, ServeSpec.of(name="house", model="house", targets=[url])).reference == "stock/model"
        app = build({"name": "house", "model": "house", "targets": [url], "workspace": store.url})
    assert [one.name for one in build_app(app, name="house").deployments] == ["Front"]


@pytest.mark.slow
def test_app_of_ray_serve_llm_is_a_target() -> None:
    """As it comes, with Ray's proxy, ingress and handles; its engine is ours. It needs vLLM all the same."""
    pytest.importorskip("vllm")
    port = free_port()
    command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "ray_serve_llm.py"), "0.005", str(port), "50"]
    environment = {**os.environ, "RAY_ADDRESS": "local"}  # a Ray of its own, whatever else runs here
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            wait_for(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}"), timeout_s=240)
            assert process.poll() is None
            with front_of(f"http://127.0.0.1:{port}") as (front, client):
                body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 7}
                whole = client.post("/v1/chat/completions", json=body).json()
                assert whole["usage"]["completion_tokens"] == 7
                streamed = client.post("/v1/chat/completions", json=body | {"stream": True}).text
                assert "data: [DONE]" in streamed
                assert front.answered_tokens() == (3, 7)
                assert client.get("/replicas").json()[0]["models"] == ["echo"]
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_application_of_targets_is_a_front_alone(store: Store) -> None:
    from tradewind.serving.model_files import ModelFiles

    spec = ServeSpec.of(name="house", model="house", targets=["http://127.0.0.1:9"])
    (front,) = build_app(application(spec, store, ModelFiles(store, "stock/model")), name="house").deployments
    settings: Any = front._replica_config.init_args
    assert settings[0].targets == ("http://127.0.0.1:9",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"targets": ["127.0.0.1:9"]}, "no address of a server"),
        ({"targets": ["https://example.com"]}, "no address of a server"),
        ({"replicas": 2}, "so replicas has nothing to say"),
        ({"scaling": {}}, "so scaling has nothing to say"),
        ({"engine": "vllm"}, "so engine has nothing to say"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        ServeSpec.of(**({"name": "house", "model": "house", "targets": ["http://127.0.0.1:9"]} | changes))


def test_spec_that_was_written_down_is_read_again() -> None:
    spec = ServeSpec.of(name="house", model="house", targets=["http://127.0.0.1:9"])
    assert ServeSpec.of(**json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize(
    ("tail", "tokens"),
    [
        (b'..."usage":{"prompt_tokens":3,"total_tokens":8,"completion_tokens":5}}', (3, 5)),
        (b'"usage": {"prompt_tokens": 3, "total_tokens": 3}}', (3, 0)),
        (b'{"prompt_tokens":3,"completion_tokens":1} {"prompt_tokens":3,"completion_tokens":2}', (3, 2)),
        (rb'{"text":"he said \"prompt_tokens\": 9"}', (0, 0)),
        (b"", (0, 0)),
    ],
)
def test_tokens_are_those_that_the_end_of_an_answer_says(tail: bytes, tokens: tuple[int, int]) -> None:
    assert tokens_said(tail) == tokens
