"""The OpenAI HTTP API over one engine of ours: completions, chat and embeddings, with usage, health and metrics.

It knows HTTP and the shapes of OpenAI's requests, answers and errors; it knows nothing of Ray.
"""

from __future__ import annotations

import base64
import difflib
import struct
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import Response

from tradewind.engines.api_answers import CHAT, COMPLETION, Answer, Report, Served, Shape, Work
from tradewind.engines.api_errors import ApiError, add_error_handlers
from tradewind.engines.api_requests import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    GenerationRequest,
    StreamOptions,
)
from tradewind.engines.body_limit import BodyLimit
from tradewind.engines.engine import Prompt, TextEngine
from tradewind.engines.metrics import CONTENT_TYPE, exposition
from tradewind.engines.tally import FirstTokens

BLOCKS: dict[str, type[BaseModel]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
    "/v1/embeddings": EmbeddingRequest,
}


def app_of(engine: TextEngine, first_tokens: FirstTokens) -> FastAPI:
    """The whole app of an engine: its routes, its metrics, and the limit on bodies."""
    app = FastAPI(title=f"tradewind: {engine.settings.names[0]}")
    add_routes(app, engine, names=engine.settings.names)

    @app.get("/metrics")
    async def metrics() -> Response:
        text = exposition(engine.settings.names[0], engine.load(), first_tokens, engine.phases)
        return Response(text, media_type=CONTENT_TYPE)

    app.add_middleware(BodyLimit)
    return app


def _untold(_: Served) -> None:
    """What a request took interests nobody."""


def add_routes(app: FastAPI, engine: TextEngine, *, names: tuple[str, ...], report: Report = _untold) -> None:
    """Let an app answer for an engine's model and its adapters. `names[0]` is the model's own name."""
    routes = Routes(engine, names, report)
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", routes.model, methods=["GET"])
    for path, route in (
        ("/v1/completions", routes.completions),
        ("/v1/chat/completions", routes.chat),
        ("/v1/embeddings", routes.embeddings),
    ):
        app.add_api_route(path, route, methods=["POST"], response_model=None)
    add_error_handlers(app, BLOCKS)


class Routes:
    """What is answered at each path."""

    def __init__(self, engine: TextEngine, names: tuple[str, ...], report: Report) -> None:
        self._engine = engine
        self._names = names
        self._report = report
        self._created = int(time.time())

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", **asdict(self._engine.load())}

    async def models(self) -> dict[str, Any]:
        names = (self._names[0], *self._engine.settings.adapters)
        return {"object": "list", "data": [self._card(name) for name in names]}

    async def model(self, name: str) -> dict[str, Any]:
        return self._card(self._meant(name)[0])

    async def completions(self, request: CompletionRequest) -> Response:
        name, adapter = self._meant(request.model)
        prompts = [self._engine.read(text) for text in request.prompts]
        self._check_room(max(prompt.tokens for prompt in prompts), request.max_tokens, "prompt")
        return self._answer(COMPLETION, request, prompts, request.max_tokens, name, adapter)

    async def chat(self, request: ChatRequest) -> Response:
        name, adapter = self._meant(request.model)
        prompt = self._engine.read_chat(request.plain())
        self._check_room(prompt.tokens, request.most_tokens or 1, "messages")
        max_tokens = request.most_tokens or self._engine.context - prompt.tokens
        return self._answer(CHAT, request, [prompt], max_tokens, name, adapter)

    async def embeddings(self, request: EmbeddingRequest) -> dict[str, Any]:
        name, adapter = self._meant(request.model)
        if adapter:
            raise ApiError(400, "embeddings are the model's own, not an adapter's", param="model")
        prompts = [self._engine.read(text) for text in request.texts]
        self._check_room(max(prompt.tokens for prompt in prompts), 0, "input")
        served = Served(tokens_in=sum(prompt.tokens for prompt in prompts), began=time.monotonic())
        vectors = await self._engine.embed(prompts)
        served.seconds, served.answered = time.monotonic() - served.began, True
        self._report(served)
        usage = {"prompt_tokens": served.tokens_in, "total_tokens": served.tokens_in}
        written = _base64 if request.encoding_format == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": written(vector)}
            for index, vector in enumerate(vectors)
        ]
        return {"object": "list", "model": name, "data": data, "usage": usage}

    def _answer(
        self,
        shape: Shape,
        request: GenerationRequest,
        prompts: Sequence[Prompt],
        max_tokens: int,
        name: str,
        adapter: str | None,
    ) -> Answer:
        work = Work(self._engine, prompts, request.sampling(max_tokens), name, adapter, self._report)
        return Answer(work, shape, (request.stream_options or StreamOptions()) if request.stream else None)

    def _meant(self, name: str) -> tuple[str, str | None]:
        """The name that answers carry, and the adapter. Raises ApiError with the nearest name."""
        if name in self._names:
            return self._names[0], None
        if name in self._engine.settings.adapters:
            return name, name
        near = difflib.get_close_matches(name, (*self._names, *self._engine.settings.adapters), n=1)
        text = f"the model {name!r} is not served here; {(near or self._names)[0]!r} is"
        raise ApiError(404, text, code="model_not_found", param="model")

    def _check_room(self, longest: int, max_tokens: int, param: str) -> None:
        context = self._engine.context
        if longest + max_tokens > context:
            raise ApiError(
                400,
                f"the model's context is {context} tokens; the {param} has {longest} and max_tokens asks for "
                f"{max_tokens} more",
                code="context_length_exceeded",
                param=param if longest >= context else "max_tokens",
            )

    def _card(self, name: str) -> dict[str, Any]:
        context = self._engine.context
        known = {"id": name, "object": "model", "created": self._created, "owned_by": "tradewind"}
        return {**known, "max_model_len": context}


def _base64(vector: Sequence[float]) -> str:
    """Little-endian floats of 32 bits, as OpenAI's client reads them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
