"""The OpenAI HTTP API over one engine: models and completions, streamed or whole, with usage.

It knows HTTP and the shapes of OpenAI's requests, answers and errors; it knows nothing of Ray.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from tradewind.engines import Engine, Sampling
from tradewind.errors import CapacityError

STATUS_TYPES = {400: "invalid_request_error", 404: "not_found_error", 422: "invalid_request_error"}


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """The fields that are honoured. Any other is refused by name, so that nothing is silently left out."""

    model_config = ConfigDict(extra="forbid")

    model: str
    prompt: str | list[str] = Field(min_length=1)
    max_tokens: int = Field(default=16, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    user: str | None = None

    @field_validator("prompt", "stop")
    @classmethod
    def _is_whole_text(cls, value: str | list[str] | None) -> str | list[str] | None:
        for text in [value] if isinstance(value, str) else value or []:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError("a lone surrogate is half a character")  # JSON can say it, no tokenizer takes it
        return value

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def sampling(self) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(self.max_tokens, self.temperature, self.top_p, tuple(filter(None, stop)), self.seed)


@dataclass
class Served:
    """What one request took, told to the ledger when it ends, however it ends."""

    tokens_in: int = 0
    tokens_out: int = 0
    began: float = 0.0
    seconds: float = 0.0
    answered: bool = False
    """To the end: nothing failed, and nobody went away."""

    def usage(self) -> dict[str, int]:
        total = self.tokens_in + self.tokens_out
        return {"prompt_tokens": self.tokens_in, "completion_tokens": self.tokens_out, "total_tokens": total}


class ApiError(Exception):
    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def add_routes(app: FastAPI, engine: Engine, *, names: tuple[str, ...], report: Callable[[Served], None]) -> None:
    """Let an app answer for an engine's model. `names[0]` is the model's own name, the others mean it as well."""
    created = int(time.time())
    card = {"id": names[0], "object": "model", "created": created, "owned_by": "tradewind"}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **vars(engine.stats())}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, names)
        return card

    @app.post("/v1/completions", response_model=None)
    async def completions(request: CompletionRequest) -> Response | dict[str, Any]:
        _check_model(request.model, names)
        _check_length(request, engine)
        answer = Completion(request, engine, model=names[0], report=report)
        if request.stream:
            return StreamingResponse(answer.events(), media_type="text/event-stream")
        return await answer.whole()

    _add_error_handlers(app)


class Completion:
    """The answer to one request."""

    def __init__(
        self, request: CompletionRequest, engine: Engine, *, model: str, report: Callable[[Served], None]
    ) -> None:
        self._request = request
        self._engine = engine
        self._report = report
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._served = Served()

    async def whole(self) -> dict[str, Any]:
        texts: list[str] = ["" for _ in self._request.prompts]
        reasons: list[str | None] = [None for _ in texts]
        async for index, text, reason in self._pieces():
            texts[index] += text
            reasons[index] = reason
        choices = [_choice(index, text, reasons[index]) for index, text in enumerate(texts)]
        return {**self._head, "choices": choices, "usage": self._served.usage()}

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events; an error in the middle becomes one, since the status has been sent."""
        try:
            async for index, text, reason in self._pieces():
                yield _event({**self._head, "choices": [_choice(index, text, reason)]})
        except Exception as exc:  # noqa: BLE001 - the end of the stream is the only place left to say it
            yield _event(_error(500, f"{type(exc).__name__}: {exc}"))
            return
        if self._request.stream_options and self._request.stream_options.include_usage:
            yield _event({**self._head, "choices": [], "usage": self._served.usage()})
        yield "data: [DONE]\n\n"

    async def _pieces(self) -> AsyncIterator[tuple[int, str, str | None]]:
        self._served.began = time.monotonic()
        try:
            for index, prompt in enumerate(self._request.prompts):
                self._served.tokens_in += self._engine.count(prompt)
                async for piece in self._engine.generate(prompt, self._request.sampling):
                    self._served.tokens_out += piece.tokens
                    yield index, piece.text, piece.finish_reason
            self._served.answered = True
        finally:
            self._served.seconds = time.monotonic() - self._served.began
            self._report(self._served)


def _check_model(name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        text = f"the model {name!r} is not served here; {names[0]!r} is"
        raise ApiError(404, text, code="model_not_found", param="model")


def _check_length(request: CompletionRequest, engine: Engine) -> None:
    longest = max(engine.count(prompt) for prompt in request.prompts)
    if longest + request.max_tokens > engine.context:
        raise ApiError(
            400,
            f"the model's context is {engine.context} tokens; the prompt has {longest} and max_tokens asks for "
            f"{request.max_tokens} more",
            code="context_length_exceeded",
            param="prompt" if longest >= engine.context else "max_tokens",
        )


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": reason, "logprobs": None}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _error(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = STATUS_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, exc: ApiError) -> JSONResponse:
        return JSONResponse(_error(exc.status, str(exc), exc.code, exc.param), exc.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, exc: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {exc.detail}"
        return JSONResponse(_error(exc.status_code, text), exc.status_code, exc.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, exc: RequestValidationError) -> JSONResponse:
        param, text = _complaint(exc.errors()[0])
        return JSONResponse(_error(400, text, param=param), 400)

    @app.exception_handler(CapacityError)
    async def stopping(_: Request, exc: CapacityError) -> JSONResponse:
        return JSONResponse(_error(503, exc.message), 503, {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def failed(_: Request, exc: Exception) -> JSONResponse:
        return JSONResponse(_error(500, f"{type(exc).__name__}: {exc}"), 500)


def _complaint(problem: Any) -> tuple[str | None, str]:
    """The field that is wrong, and in which way."""
    where = [str(part) for part in problem["loc"][1:]]
    if problem["type"] == "json_invalid":  # where: the position in the body
        return None, f"body: no JSON, {problem['ctx']['error']}"
    if problem["type"] == "extra_forbidden":
        param = ".".join(where)
        block = StreamOptions if len(where) > 1 else CompletionRequest
        return param, f"{param!r} is not supported here; known: {', '.join(block.model_fields)}"
    field = where[0] if where else None  # behind it stands which of its kinds did not fit
    return field, f"{field or 'body'}: {problem['msg'].removeprefix('Value error, ')}"
