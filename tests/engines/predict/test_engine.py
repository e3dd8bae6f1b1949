"""The engine and its HTTP API, over a real server where the connection matters."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from tests.engines.predict import toys
from tradewind.engines import EngineSettings
from tradewind.engines.predict import PredictEngine
from tradewind.engines.predict.predictors import EXPORTED
from tradewind.errors import CapacityError, IntegrityError, RunError, SpecError
from tradewind.serving.server import Server, bind

TOYS = "tests.engines.predict.toys"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"factor": 3}')
    return tmp_path


@contextmanager
def started(
    folder: Path, predictor: str = "", *, settings: Mapping[str, Any] = {}, **knobs: Any
) -> Iterator[PredictEngine]:
    engine = PredictEngine()
    more = {"predictor": f"{TOYS}:{predictor}", **knobs} if predictor else knobs
    try:
        engine.start(folder, EngineSettings(names=("pilot@1", "pilot"), more=more, **settings))
        yield engine
    finally:
        engine.stop()


@contextmanager
def asked(folder: Path, predictor: str = "", **knobs: Any) -> Iterator[TestClient]:
    with (
        started(folder, predictor, **knobs) as engine,
        TestClient(engine.app(), raise_server_exceptions=False) as client,
    ):
        yield client


@contextmanager
def served(engine: PredictEngine) -> Iterator[str]:
    server = Server(engine.app(), bind("127.0.0.1"))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def exported(folder: Path, module: torch.nn.Module, example: torch.Tensor, *, is_dynamic: bool = True) -> Path:
    shapes = ({0: torch.export.Dim("batch")},) if is_dynamic else None
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), folder / EXPORTED)
    return folder


def picture(colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def test_each_input_has_its_output(folder: Path) -> None:
    with asked(folder, "Scale") as client:
        answer = client.post("/v1/predict", json={"inputs": [1, 2.5, -1], "model": "pilot"})
    assert answer.json() == {"model": "pilot@1", "outputs": [3, 7.5, -3]}


def test_health_models_and_metrics(folder: Path) -> None:
    with asked(folder, "Scale") as client:
        client.post("/v1/predict", json={"inputs": [1, 2]})
        health = client.get("/health").json()
        assert (health["status"], health["tokens_in"], health["tokens_out"]) == ("ok", 2, 2)
        assert health["batch"]["limit"] >= 1
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["pilot@1"]
        assert 'tradewind_engine_prompt_tokens_total{model="pilot@1"} 2' in client.get("/metrics").text


def test_example_is_answered_at_the_start_and_tells_the_size_of_batches(folder: Path) -> None:
    with started(folder, "Scale") as engine:
        assert engine.times.limit > 1  # numpy takes about as long for two numbers as for one
        assert engine.times.of(1) > 0
        assert {"deserialise", "first_token"} == set(engine.phases)
    with started(folder, "Scale", max_batch=1) as engine:
        assert engine.times.limit == 1


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b"[1]", 400, "the body is like"),
        (b"{}", 400, "the body is like"),
        (b'{"inputs": []}', 400, "at least one input"),
        (b'{"inputs": 3}', 400, "at least one input"),
        (b'{"inputs": [1], "input": 2}', 400, "did you mean 'inputs'"),
        (b'{"inputs": [1], "model": "other"}', 404, "'pilot@1' is"),
        (b'{"inputs": [1, "x"]}', 400, r"inputs[1]: 'x' is no number"),
        (json.dumps({"inputs": [1] * 1025}).encode(), 400, "1025 inputs are more than 1024"),
    ],
)
def test_wrong_body_is_told_what_is_wrong(folder: Path, body: bytes, status: int, complaint: str) -> None:
    with asked(folder, "Scale") as client:
        answer = client.post("/v1/predict", content=body)
        assert answer.status_code == status
        assert complaint in answer.json()["error"]["message"]
        assert client.post("/v1/predict", json={"inputs": [1]}).json()["outputs"] == [3]


@pytest.mark.parametrize("said", ["soon", "0", "-1", "nan"])
def test_deadline_must_be_a_time(folder: Path, said: str) -> None:
    with asked(folder, "Scale") as client:
        answer = client.post("/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": said})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-deadline-ms")


def test_deadline_that_cannot_be_met_is_refused(folder: Path) -> None:
    with asked(folder, "Scale") as client:
        answer = client.post("/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": "0.001"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
        assert client.post("/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": "10000"}).status_code == 200
        assert client.get("/health").json()["tokens_in"] == 1  # what is refused was not taken on


def test_answer_that_is_not_there_in_time_is_a_504(folder: Path) -> None:
    with started(folder, "Waits") as engine, TestClient(engine.app()) as client:
        answer = client.post("/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": "20"})
        engine._predictor.go.set()  # type: ignore[union-attr]
    assert answer.status_code == 504


def test_timeout_of_the_endpoint_is_a_deadline_too(folder: Path) -> None:
    with started(folder, "Waits", settings={"timeout_s": 0.02}) as engine, TestClient(engine.app()) as client:
        answer = client.post("/v1/predict", json={"inputs": [1]}, headers={"x-deadline-ms": "60000"})
        engine._predictor.go.set()  # type: ignore[union-attr]
    assert answer.status_code == 504


@pytest.mark.parametrize(
    ("value", "status", "complaint"),
    [
        ("refuse", 400, "the model refuses an input: refused"),
        ("break", 500, "ZeroDivisionError: broken"),
        ("nan", 500, "nothing that JSON can say"),
        ("set", 500, "set is no type of JSON"),
    ],
)
def test_failure_of_the_model_is_told_and_ends_nothing(folder: Path, value: str, status: int, complaint: str) -> None:
    with asked(folder, "Odd") as client:
        answer = client.post("/v1/predict", json={"inputs": ["good", value]})
        assert (answer.status_code, complaint in answer.json()["error"]["message"]) == (status, True)
        assert client.post("/v1/predict", json={"inputs": ["good"]}).json()["outputs"] == ["good"]


def test_requests_that_come_together_share_batches(folder: Path) -> None:
    with started(folder, "Waits") as engine, served(engine) as url:
        waits: toys.Waits = engine._predictor  # type: ignore[assignment]
        engine.times.limit = 8
        asking = [
            threading.Thread(target=httpx.post, args=(f"{url}/v1/predict",), kwargs={"json": {"inputs": [n]}})
            for n in range(6)
        ]
        for one in asking:
            one.start()
        _wait_for(lambda: engine.load().running and engine.load().waiting + engine.load().running == 6)
        waits.go.set()
        for one in asking:
            one.join()
    assert sum(map(len, waits.batches)) == 6
    assert len(waits.batches) == 2


def test_client_that_goes_away_leaves_the_queue(folder: Path) -> None:
    with started(folder, "Waits") as engine, served(engine) as url:
        waits: toys.Waits = engine._predictor  # type: ignore[assignment]

        async def story() -> None:
            async with httpx.AsyncClient() as client:
                first = asyncio.ensure_future(client.post(f"{url}/v1/predict", json={"inputs": ["first"]}))
                while not engine.load().running:
                    await asyncio.sleep(0.01)
                with pytest.raises(httpx.ReadTimeout):
                    await client.post(f"{url}/v1/predict", json={"inputs": ["gone"]}, timeout=0.1)
                while engine.load().waiting:
                    await asyncio.sleep(0.01)
                waits.go.set()
                assert (await first).json()["outputs"] == ["first"]

        asyncio.run(asyncio.wait_for(story(), 20))
    assert waits.batches == [["first"]]


def test_stopped_engine_says_that_another_answers(folder: Path) -> None:
    with started(folder, "Scale") as engine, TestClient(engine.app()) as client:
        engine.stop()
        assert client.post("/v1/predict", json={"inputs": [1]}).status_code == 503


@pytest.mark.parametrize(
    ("knobs", "error", "complaint"),
    [
        ({}, SpecError, r"no model\.pt2, and no predictor is named"),
        ({"predictor": "Scales"}, SpecError, "cannot be loaded: .*'Scales'"),
        ({"predictor": "NoPredictor"}, SpecError, "has no method predict"),
        ({"predictor": "FailsOnItsExample"}, RunError, "fails on its own example: ZeroDivisionError: broken"),
        ({"predictor": "Scale", "max_batch": 0}, SpecError, "max_batch is 0"),
        ({"predictor": "Scale", "inptus": "image"}, SpecError, "did you mean 'inputs'"),
        ({"predictor": "Scale", "inputs": "sound"}, SpecError, "setting 'inputs' of the predict engine"),
    ],
)
def test_wrong_settings_are_refused(
    folder: Path, knobs: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint), started(folder, **knobs):
        pass


def test_files_that_the_predictor_cannot_use_are_an_integrity_error(tmp_path: Path) -> None:
    with (
        pytest.raises(IntegrityError, match="cannot use the model's files: FileNotFoundError"),
        started(tmp_path, "Scale"),
    ):
        pass


@pytest.mark.parametrize("wish", [{"adapters": {"a": Path()}}, {"precision": "int8"}, {"tensor": 2}])
def test_what_is_of_language_models_is_refused(folder: Path, wish: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="the predict engine has no"), started(folder, "Scale", settings=wish):
        pass


class TestExported:
    def test_model_answers_as_the_module_does(self, tmp_path: Path) -> None:
        torch.manual_seed(1)
        module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        inputs = torch.randn(5, 4)
        with asked(exported(tmp_path, module, torch.randn(2, 4))) as client:
            answer = client.post("/v1/predict", json={"inputs": inputs.tolist()}).json()
        torch.testing.assert_close(torch.tensor(answer["outputs"]), module(inputs).detach())

    @pytest.mark.parametrize(
        ("value", "complaint"),
        [
            ([1, 2], "its shape is [2], and the model takes [4]"),
            ([[1, 2, 3, 4]], "its shape is [1, 4]"),
            (["a"] * 4, "no tensor of torch.float32"),
            ([[1], 2, 3, 4], "no tensor of torch.float32"),
            (None, "no tensor of torch.float32"),
        ],
    )
    def test_wrong_input_is_told_what_is_wrong(self, tmp_path: Path, value: Any, complaint: str) -> None:
        with asked(exported(tmp_path, torch.nn.Linear(4, 2), torch.randn(2, 4))) as client:
            answer = client.post("/v1/predict", json={"inputs": [[1, 2, 3, 4], value]})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(f"inputs[1]: {complaint}")

    def test_model_of_images_is_given_them_at_its_size(self, tmp_path: Path) -> None:
        class Mean(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return images.mean(dim=(2, 3))

        with asked(exported(tmp_path, Mean(), torch.rand(2, 3, 8, 6)), inputs="image") as client:
            inputs = [base64.b64encode(picture(colour)).decode() for colour in ((255, 0, 0), (0, 0, 51))]
            answer = client.post("/v1/predict", json={"inputs": inputs}).json()
        assert answer["outputs"] == [pytest.approx([1, 0, 0]), pytest.approx([0, 0, 0.2])]

    def test_model_without_a_dynamic_batch_is_refused(self, tmp_path: Path) -> None:
        exported(tmp_path, torch.nn.Linear(4, 2), torch.randn(2, 4), is_dynamic=False)
        with pytest.raises(SpecError, match="takes no batch of 1") as caught, started(tmp_path):
            pass
        assert "Dim('batch')" in str(caught.value.hint)

    def test_model_of_other_inputs_is_refused(self, tmp_path: Path) -> None:
        class Sum(torch.nn.Module):
            def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
                return one + other

        torch.export.save(torch.export.export(Sum(), (torch.ones(2), torch.ones(2))), tmp_path / EXPORTED)
        with pytest.raises(SpecError, match="does not take exactly one tensor"), started(tmp_path):
            pass

    def test_model_of_no_images_is_not_given_any(self, tmp_path: Path) -> None:
        exported(tmp_path, torch.nn.Linear(4, 2), torch.randn(2, 4))
        with pytest.raises(SpecError, match=r"takes inputs of shape \[4\]"), started(tmp_path, inputs="image"):
            pass

    def test_damaged_file_is_an_integrity_error(self, tmp_path: Path) -> None:
        file = exported(tmp_path, torch.nn.Linear(4, 2), torch.randn(2, 4)) / EXPORTED
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(IntegrityError, match=r"torch cannot load model\.pt2"), started(tmp_path):
            pass


class TestImages:
    def test_image_as_the_body_is_one_input(self, folder: Path) -> None:
        with asked(folder, "Colour", inputs="image") as client:
            answer = client.post("/v1/predict", content=picture(), headers={"content-type": "image/png"})
        assert answer.json()["outputs"] == [{"size": [30, 40, 3], "mean": [255, 0, 0]}]

    def test_images_in_json_are_base64_or_data_urls(self, folder: Path) -> None:
        text = base64.b64encode(picture((0, 255, 0))).decode()
        with asked(folder, "Colour", inputs="image", image_size=(4, 5)) as client:
            answer = client.post("/v1/predict", json={"inputs": [text, f"data:image/png;base64,{text}"]}).json()
        assert answer["outputs"] == [{"size": [4, 5, 3], "mean": [0, 255, 0]}] * 2

    def test_model_that_takes_json_is_given_no_image(self, folder: Path) -> None:
        with asked(folder, "Scale") as client:
            answer = client.post("/v1/predict", content=picture(), headers={"content-type": "image/png"})
        assert answer.status_code == 415

    def test_damaged_image_is_refused_and_the_next_is_answered(self, folder: Path) -> None:
        with asked(folder, "Colour", inputs="image") as client:
            for data in (b"", b"no image", picture()[:60], picture(kind="JPEG")[:200]):
                answer = client.post("/v1/predict", content=data, headers={"content-type": "image/png"})
                assert answer.status_code == 400
                assert "image" in answer.json()["error"]["message"]
            answer = client.post("/v1/predict", content=picture(), headers={"content-type": "image/png"})
            assert answer.status_code == 200


def _wait_for(what: Any) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_engine_that_is_stopped_twice_is_stopped(folder: Path) -> None:
    with started(folder, "Scale") as engine:
        engine.stop()
        with pytest.raises(CapacityError):
            _ = engine.batcher
