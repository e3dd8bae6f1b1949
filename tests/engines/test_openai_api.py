"""The HTTP API as OpenAI's own client sees it, over a real server on the loopback and a real, tiny model."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.conftest import free_port
from tradewind.engines import EngineLoad, EngineSettings, Piece, Prompt, Sampling, TextEngine
from tradewind.engines.api_answers import Served
from tradewind.engines.body_limit import BodyLimit
from tradewind.engines.echo import EchoEngine
from tradewind.engines.engine import PLAIN
from tradewind.engines.openai_api import add_routes
from tradewind.engines.transformers import TransformersEngine
from tradewind.errors import CapacityError, SpecError

NAMES = ("pilot@3", "pilot@prod", "pilot")
PROMPT = "the harbour, the"
GREEDY: dict[str, Any] = {"model": "pilot@prod", "prompt": PROMPT, "max_tokens": 20, "temperature": 0}


@dataclass
class Server:
    """A server, what it has told about served requests, and clients for it."""

    url: str
    served: queue.SimpleQueue[Served] = field(default_factory=queue.SimpleQueue)

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="not-needed", max_retries=0, timeout=30)

    def post(self, body: Any, path: str = "/v1/completions", **headers: str) -> tuple[int, Any]:
        """Status and JSON of a request that OpenAI's client would not send."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **headers}
        answer = httpx.post(f"{self.url}{path}", content=content, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    def told(self) -> Served:
        return self.served.get(timeout=10)

    def forget(self) -> None:
        while not self.served.empty():
            self.served.get()


@contextmanager
def serving(backend: TextEngine, *, limit_bytes: int = 1 << 20) -> Iterator[Server]:
    app = FastAPI()
    app.add_middleware(BodyLimit, limit_bytes=limit_bytes)
    made = Server(f"http://127.0.0.1:{free_port()}")
    add_routes(app, backend, names=NAMES, report=made.served.put)
    port = int(made.url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield made
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def running(tiny_model: Path) -> Iterator[Server]:
    backend = TransformersEngine()
    backend.start(tiny_model, EngineSettings(precision="float32"))
    with serving(backend) as made:
        yield made
    backend.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


def test_completion_has_text_reason_and_usage(server: Server) -> None:
    answer = server.client.completions.create(**GREEDY)
    (choice,) = answer.choices
    assert choice.text
    assert choice.finish_reason in ("stop", "length")
    assert (answer.object, answer.model) == ("text_completion", "pilot@3")
    assert answer.id.startswith("cmpl-")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 20
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_each_name_means_the_one_model(server: Server) -> None:
    answers = [server.client.completions.create(**{**GREEDY, "model": name}) for name in NAMES]
    assert {answer.model for answer in answers} == {"pilot@3"}
    assert len({answer.choices[0].text for answer in answers}) == 1


def test_streamed_answer_is_the_whole_one_in_pieces(server: Server) -> None:
    whole = server.client.completions.create(**GREEDY)
    chunks = list(server.client.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True}))
    *pieces, last = chunks
    assert "".join(chunk.choices[0].text for chunk in pieces) == whole.choices[0].text
    assert len(pieces) > 3
    assert [chunk.choices[0].finish_reason for chunk in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == []
    assert last.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_without_the_wish_for_usage_has_none(server: Server) -> None:
    chunks = list(server.client.completions.create(**GREEDY, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert {chunk.usage for chunk in chunks} == {None}


def test_stream_is_events_that_end_with_done(server: Server) -> None:
    body = {**GREEDY, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.read().decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(line.removeprefix("data: "))["object"] == "text_completion" for line in lines[:-2])


def test_list_of_prompts_gives_a_choice_each(server: Server) -> None:
    prompts = ["sail", "wind and", "the quay"]
    alone = [server.client.completions.create(**{**GREEDY, "prompt": prompt}) for prompt in prompts]
    together = server.client.completions.create(**{**GREEDY, "prompt": prompts})
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    assert [choice.text for choice in together.choices] == [answer.choices[0].text for answer in alone]
    assert together.usage is not None
    assert together.usage.total_tokens == sum(answer.usage.total_tokens for answer in alone if answer.usage)
    streamed = ["", "", ""]
    for chunk in server.client.completions.create(**{**GREEDY, "prompt": prompts}, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in together.choices]


@pytest.mark.parametrize("listed", [False, True])
def test_stop_text_ends_the_answer(server: Server, listed: bool) -> None:
    whole = server.client.completions.create(**GREEDY).choices[0].text
    stop = whole[4:7]
    choice = server.client.completions.create(**GREEDY, stop=[stop, "never said"] if listed else stop).choices[0]
    assert (choice.text, choice.finish_reason) == (whole[: whole.find(stop)], "stop")


def test_seed_decides_the_answer(server: Server) -> None:
    texts = [
        server.client.completions.create(**{**GREEDY, "temperature": 1.5}, seed=seed, top_p=0.95).choices[0].text
        for seed in (-5, -5, 2**62)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_answers_to_many_clients_at_once_are_not_mixed_up(server: Server) -> None:
    prompts = ["sail", "wind and", "the quay", "波止場", "keel", "mast"]
    alone = [server.client.completions.create(**{**GREEDY, "prompt": prompt}).choices[0].text for prompt in prompts]

    async def ask(client: openai.AsyncOpenAI, prompt: str) -> str:
        stream = await client.completions.create(**{**GREEDY, "prompt": prompt}, stream=True)
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def together() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, prompt) for prompt in prompts))

    assert asyncio.run(together()) == alone


def test_what_a_request_took_is_told_once(server: Server) -> None:
    usage = server.client.completions.create(**GREEDY).usage
    assert usage is not None
    for stream in (False, True):
        server.forget()
        answer = server.client.completions.create(**GREEDY, stream=stream)
        if stream:
            list(answer)
        served = server.told()
        assert (served.tokens_in, served.tokens_out) == (usage.prompt_tokens, usage.completion_tokens)
        assert 0 < served.seconds < 30
        assert server.served.empty()


def test_models_are_listed_and_retrieved(server: Server) -> None:
    (model,) = server.client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("pilot@3", "model", "tradewind")
    for name in NAMES:
        assert server.client.models.retrieve(name) == model
    with pytest.raises(openai.NotFoundError, match="'pilot@4' is not served here"):
        server.client.models.retrieve("pilot@4")


def test_health_tells_the_stats(server: Server) -> None:
    server.client.completions.create(**GREEDY)
    stats = httpx.get(f"{server.url}/health").json()
    assert stats["status"] == "ok"
    assert stats["tokens_out"] > 0
    assert {"running", "waiting", "tokens_in"} <= set(stats)


class TestRefusal:
    """Each is an error of OpenAI's client, says what is wrong, and is not counted as served."""

    @pytest.fixture(autouse=True)
    def nothing_is_served(self, server: Server) -> Iterator[None]:
        yield
        assert server.served.empty()

    def test_unknown_model_is_not_found(self, server: Server) -> None:
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError, match="'schooner' is not served here; 'pilot@3' is") as caught:
                server.client.completions.create(**{**GREEDY, "model": "schooner"}, stream=stream)
            assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    def test_too_long_an_answer_is_refused_with_the_numbers(self, server: Server) -> None:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match=r"context is 64 tokens; the prompt has \d+ and") as caught:
                server.client.completions.create(**{**GREEDY, "max_tokens": 60}, stream=stream)
            assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "max_tokens")

    def test_too_long_a_prompt_is_refused(self, server: Server) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            server.client.completions.create(**{**GREEDY, "prompt": ["a", "x" * 64]})
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")

    def test_answer_that_just_fits_is_given(self, server: Server) -> None:
        usage = server.client.completions.create(**{**GREEDY, "max_tokens": 1}).usage
        assert usage is not None
        fits = 64 - usage.prompt_tokens
        server.client.completions.create(**{**GREEDY, "max_tokens": fits})
        with pytest.raises(openai.BadRequestError):
            server.client.completions.create(**{**GREEDY, "max_tokens": fits + 1})
        server.told()
        server.told()

    @pytest.mark.parametrize("extra", ["echo", "logprobs", "best_of", "suffix", "frequency_penalty", "temprature"])
    def test_field_that_is_not_honoured_is_refused_by_name(self, server: Server, extra: str) -> None:
        status, body = server.post({**GREEDY, extra: 2})
        assert status == 400
        assert body["error"]["param"] == extra
        assert body["error"]["type"] == "invalid_request_error"
        assert body["error"]["message"].startswith(f"'{extra}' is not supported here; known: model, user, temperature")

    def test_option_of_a_stream_that_is_not_honoured_is_refused_by_name(self, server: Server) -> None:
        status, body = server.post({**GREEDY, "stream": True, "stream_options": {"include_obfuscation": False}})
        assert (status, body["error"]["param"]) == (400, "stream_options.include_obfuscation")
        assert body["error"]["message"].endswith("is not supported here")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("prompt", 5),
            ("prompt", None),
            ("prompt", ""),
            ("prompt", []),
            ("prompt", ["a", 5]),
            ("prompt", [1, 2, 3]),
            ("prompt", "half \ud800 a pair"),
            ("max_tokens", 0),
            ("max_tokens", -1),
            ("max_tokens", 1.5),
            ("max_tokens", "many"),
            ("temperature", -0.1),
            ("temperature", 2.1),
            ("temperature", float("nan")),
            ("temperature", "hot"),
            ("top_p", 0),
            ("top_p", 1.1),
            ("stop", 5),
            ("stop", [5]),
            ("seed", 2**63),
            ("seed", "lucky"),
            ("n", 2),
            ("stream", "perhaps"),
            ("stream_options", "all"),
            ("model", None),
        ],
    )
    def test_value_of_the_wrong_kind_is_refused_by_its_field(self, server: Server, name: str, value: Any) -> None:
        status, body = server.post({**GREEDY, name: value})
        assert (status, body["error"]["param"]) == (400, name)
        assert body["error"]["message"].startswith(f"{name}: ")

    @pytest.mark.parametrize("name", ["model", "prompt"])
    def test_missing_field_is_named(self, server: Server, name: str) -> None:
        status, body = server.post({key: value for key, value in GREEDY.items() if key != name})
        assert (status, body["error"]["param"]) == (400, name)

    @pytest.mark.parametrize("content", [b"", b"{", b"{'model': 1}", b"\xff\xfe\x00", b"[]", b"5", b"null"])
    def test_body_that_is_no_request_is_refused(self, server: Server, content: bytes) -> None:
        status, body = server.post(content)
        assert status == 400
        assert body["error"]["param"] is None
        assert body["error"]["message"].startswith(("body: ", "POST /v1/completions: There was an error parsing"))

    def test_path_and_method_that_do_not_exist_are_answered_in_openais_form(self, server: Server) -> None:
        with pytest.raises(openai.NotFoundError, match="POST /v1/moderations: Not Found"):
            server.client.moderations.create(model="pilot", input="hello")
        answer = httpx.get(f"{server.url}/v1/completions")
        assert answer.status_code == 405
        assert answer.json()["error"]["type"] == "invalid_request_error"


class ScriptedEngine:
    """Answers with what a test wants. `closed` is set when its answer was closed."""

    context = 64
    can_sleep = False
    searched = None
    loop = None

    def __init__(self, *, pieces: int, then: str) -> None:
        self.pieces, self.then = pieces, then
        self.closed = threading.Event()
        self.settings = EngineSettings()
        self.phases: dict[str, float] = {}

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None: ...

    def app(self) -> FastAPI:
        raise NotImplementedError

    def sleep(self) -> None: ...

    def wake(self) -> None: ...

    def stop(self) -> None: ...

    def load(self) -> EngineLoad:
        return EngineLoad(0, 0, 0, None, None, 0, 0)

    def read(self, text: str) -> Prompt:
        return Prompt(len(text), text)

    def read_chat(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        raise SpecError("no chat template", hint="ask at /v1/completions")

    async def embed(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        raise SpecError("no embeddings")

    async def generate(self, prompt: Prompt, sampling: Sampling, *, adapter: str | None = None) -> AsyncIterator[Piece]:
        try:
            for _ in range(self.pieces):
                yield Piece("ahoy ", 2)
            if self.then == "fail":
                raise RuntimeError("the mast broke")
            if self.then == "sink":
                raise CapacityError("the engine is stopping")
            if self.then == "wait":
                await asyncio.Event().wait()
            while self.then == "talk":
                await asyncio.sleep(0.001)
                yield Piece("and ", 1)
        finally:
            self.closed.set()


@pytest.mark.parametrize("then", ["wait", "talk"])
def test_client_that_goes_away_ends_the_answer_and_is_counted(then: str) -> None:
    backend = ScriptedEngine(pieces=3, then=then)
    with serving(backend) as server:
        with server.client.completions.create(**GREEDY, stream=True) as stream:
            assert [next(stream).choices[0].text for _ in range(3)] == ["ahoy "] * 3
            assert not backend.closed.is_set()
        served = server.told()
        assert backend.closed.wait(10)
        assert served.tokens_in == len(PROMPT)
        assert served.tokens_out >= 6
        assert server.served.empty()


def test_failure_of_the_engine_is_a_server_error_and_is_counted() -> None:
    with serving(ScriptedEngine(pieces=2, then="fail")) as server:
        with pytest.raises(openai.InternalServerError, match="RuntimeError: the mast broke"):
            server.client.completions.create(**GREEDY)
        assert server.told().tokens_out == 4


def test_failure_in_a_stream_is_its_last_event_and_is_counted() -> None:
    with serving(ScriptedEngine(pieces=2, then="fail")) as server:
        stream = server.client.completions.create(**GREEDY, stream=True)
        assert [next(stream).choices[0].text for _ in range(2)] == ["ahoy ", "ahoy "]
        with pytest.raises(openai.APIError, match="RuntimeError: the mast broke"):
            next(stream)
        assert server.told().tokens_out == 4


@pytest.mark.parametrize("stream", [False, True])
def test_failure_before_the_first_token_has_its_status(stream: bool) -> None:
    with serving(ScriptedEngine(pieces=0, then="sink")) as server:
        status, body = server.post({**GREEDY, "stream": stream})
        assert (status, body["error"]["type"]) == (503, "server_error")
        assert not server.told().answered


def test_client_that_goes_away_before_a_whole_answer_ends_it() -> None:
    backend = ScriptedEngine(pieces=1, then="wait")
    with serving(backend) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/completions", json=GREEDY, timeout=0.3)
        assert backend.closed.wait(10)
        assert not server.told().answered


@pytest.fixture(scope="module")
def echo() -> Iterator[Server]:
    backend = EchoEngine()
    backend.start(Path(), EngineSettings(more={"context": 32}))
    with serving(backend) as made:
        yield made


class TestChat:
    """Over the echo engine, which says the words of the messages."""

    MESSAGES: ClassVar[Any] = [{"role": "system", "content": "sail"}, {"role": "user", "content": "to the quay"}]

    def test_answer_is_a_message_with_usage(self, echo: Server) -> None:
        answer = echo.client.chat.completions.create(model="pilot", messages=self.MESSAGES, max_tokens=5)
        assert answer.choices[0].message.content == "sail to the quaysail"
        assert answer.choices[0].message.role == "assistant"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 5)
        assert (answer.object, answer.model, answer.choices[0].finish_reason) == (
            "chat.completion",
            "pilot@3",
            "length",
        )

    def test_stream_begins_with_the_role_and_says_the_same(self, echo: Server) -> None:
        options: Any = {"include_usage": True}
        stream = echo.client.chat.completions.create(
            model="pilot", messages=self.MESSAGES, max_completion_tokens=5, stream=True, stream_options=options
        )
        first, *rest, last = list(stream)
        assert first.choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == "sail to the quaysail"
        assert [chunk.choices[0].finish_reason for chunk in rest] == [None] * 4 + ["length"]
        assert last.usage is not None
        assert last.usage.completion_tokens == 5

    def test_answer_without_a_wish_for_its_length_fills_the_context(self, echo: Server) -> None:
        answer = echo.client.chat.completions.create(model="pilot", messages=self.MESSAGES)
        assert answer.usage is not None
        assert answer.usage.total_tokens == 32

    def test_parts_of_text_are_one_text(self, echo: Server) -> None:
        parts = [{"type": "text", "text": "to "}, {"type": "text", "text": "sea"}]
        body = {"model": "pilot", "messages": [{"role": "user", "content": parts}], "max_tokens": 2}
        status, answer = echo.post(body, "/v1/chat/completions")
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "to sea")

    def test_picture_is_refused(self, echo: Server) -> None:
        parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
        body = {"model": "pilot", "messages": [{"role": "user", "content": parts}]}
        status, answer = echo.post(body, "/v1/chat/completions")
        assert status == 400
        assert answer["error"]["message"] == "messages: this model reads text, and a part of a message is 'image_url'"

    @pytest.mark.parametrize(
        "change",
        [
            {"logprobs": True},
            {"n": 2},
            {"tools": [{"type": "function"}]},
            {"messages": []},
            {"messages": [{"content": "no role"}]},
            {"messages": [{"role": "user", "content": 5}]},
            {"messages": "hello"},
            {"response_format": {"type": "json_object"}},
        ],
    )
    def test_what_is_not_done_is_refused_by_its_field(self, echo: Server, change: dict[str, Any]) -> None:
        status, answer = echo.post({"model": "pilot", "messages": self.MESSAGES, **change}, "/v1/chat/completions")
        assert (status, answer["error"]["param"]) == (400, *change)

    def test_fields_that_ask_for_nothing_are_taken(self, echo: Server) -> None:
        nothing = {"logprobs": None, "n": 1, "tools": None, "frequency_penalty": 0.0, "top_p": None, "top_k": -1}
        status, _ = echo.post({"model": "pilot", "messages": self.MESSAGES, **nothing}, "/v1/chat/completions")
        assert status == 200

    def test_usage_in_every_event_counts_up(self, echo: Server) -> None:
        options: Any = {"include_usage": True, "continuous_usage_stats": True}
        stream = echo.client.completions.create(
            model="pilot", prompt="a b", max_tokens=3, stream=True, stream_options=options
        )
        assert [chunk.usage and chunk.usage.completion_tokens for chunk in stream] == [1, 2, 3, 3]

    def test_model_without_embeddings_says_so(self, echo: Server) -> None:
        status, answer = echo.post({"model": "pilot", "input": "hello"}, "/v1/embeddings")
        assert status == 400
        assert answer["error"]["message"].startswith("the echo engine makes no embeddings")


def test_model_without_a_template_refuses_messages(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat template; ask at /v1/completions"):
        server.client.chat.completions.create(model="pilot", messages=[{"role": "user", "content": "hello"}])


def test_embeddings_are_the_same_in_both_encodings(server: Server) -> None:
    plain = server.client.embeddings.create(model="pilot", input=["sail", "the quay"], encoding_format="float")
    packed = server.client.embeddings.create(model="pilot", input=["sail", "the quay"])  # base64, on the wire
    assert [len(one.embedding) for one in plain.data] == [32, 32]
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-6)
    assert plain.usage.prompt_tokens == server.told().tokens_in > 0
    server.told()


def test_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    for content in (b" " * (2 << 20), endless()):
        answer = httpx.post(f"{server.url}/v1/completions", content=content, timeout=30)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"


def test_deeply_nested_json_is_refused(server: Server) -> None:
    status, _ = server.post(b"[" * 200_000)
    assert status == 400


def test_metrics_are_read_by_prometheus() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    backend = EchoEngine()
    backend.start(Path(), EngineSettings(names=('the "pilot"',)))
    with TestClient(backend.app()) as client:
        client.post("/v1/completions", json={"model": 'the "pilot"', "prompt": "a b", "max_tokens": 3})
        families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    (made,) = families["tradewind_engine_generated_tokens"].samples
    assert (made.value, made.labels) == (3, {"model": 'the "pilot"'})
    assert families["tradewind_engine_time_to_first_token_seconds"].samples[-1].value == 1
    assert families["tradewind_engine_start_seconds"].samples[0].labels["phase"] == "first_token"
