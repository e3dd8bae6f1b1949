"""The HTTP API of the `predict` engine: `{"inputs": [...]}` to `{"outputs": [...]}`, or one image to one output."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from tradewind.engines.api_errors import ApiError, add_error_handlers, error_body
from tradewind.engines.body_limit import BodyLimit
from tradewind.engines.metrics import CONTENT_TYPE, exposition
from tradewind.engines.predict.batcher import BusyError, LateError, Ticket
from tradewind.errors import did_you_mean

if TYPE_CHECKING:
    from starlette.types import Receive

    from tradewind.engines.predict.engine import PredictEngine

DEADLINE = "x-deadline-ms"
FIELDS = ("inputs", "model")
GONE = 499
"""The status of an answer that nobody hears, as nginx calls it."""


def app_of(engine: PredictEngine) -> FastAPI:
    """The whole app: predictions, the model's card, health and metrics, with the limit on bodies."""
    app = FastAPI(title=f"tradewind: {engine.settings.names[0]}")
    routes = Routes(engine)
    app.add_api_route("/v1/predict", routes.predict, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_api_route("/metrics", routes.metrics, methods=["GET"], response_model=None)
    add_error_handlers(app, {})

    @app.exception_handler(LateError)
    async def late(_: Request, exc: LateError) -> JSONResponse:
        return JSONResponse(error_body(504, str(exc), "deadline"), 504)

    @app.exception_handler(BusyError)
    async def busy(_: Request, exc: BusyError) -> JSONResponse:
        again = {"Retry-After": str(math.ceil(exc.wait_s))}
        return JSONResponse(error_body(429, str(exc), "deadline"), 429, again)

    app.add_middleware(BodyLimit)
    return app


class Routes:
    """What is answered at each path."""

    def __init__(self, engine: PredictEngine) -> None:
        self._engine = engine
        self._created = int(time.time())

    async def health(self) -> dict[str, Any]:
        times = self._engine.times
        batch = {"limit": times.limit, "takes_ms": 1000 * times.of(times.limit)}
        return {"status": "ok", **asdict(self._engine.load()), "batch": batch}

    async def models(self) -> dict[str, Any]:
        name = self._engine.settings.names[0]
        card = {"id": name, "object": "model", "created": self._created, "owned_by": "tradewind"}
        return {"object": "list", "data": [card]}

    async def metrics(self) -> Response:
        engine = self._engine
        text = exposition(engine.settings.names[0], engine.load(), engine.tally.first_tokens, engine.phases)
        return Response(text, media_type=CONTENT_TYPE)

    async def predict(self, request: Request) -> Response:
        engine = self._engine
        deadline = asyncio.get_running_loop().time() + patience_s(request.headers, engine.settings.timeout_s)
        inputs = await self._inputs(request)
        ticket = engine.batcher.admit(inputs, deadline)
        with engine.tally.request(len(inputs)) as one:
            outputs = await _unless_gone(request.receive, ticket)
            if outputs is None:
                return Response(status_code=GONE)
            engine.tally.made(one, len(outputs))
        return _answer(engine.settings.names[0], outputs)

    async def _inputs(self, request: Request) -> list[Any]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        body = await request.body()
        if kind.startswith("image/"):
            if not self._engine.takes_images:
                raise ApiError(415, "this model takes JSON, and no images", param="content-type")
            return await self._read([body], "body")
        return await self._read(self._asked(body), "inputs")

    def _asked(self, body: bytes) -> list[Any]:
        """The inputs of a body of JSON. Raises ApiError."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise ApiError(400, f"body: no JSON, {exc}") from exc
        if not isinstance(asked, dict) or "inputs" not in asked:
            raise ApiError(400, 'the body is like {"inputs": [...]}', param="inputs")
        if unknown := sorted(set(asked) - set(FIELDS)):
            raise ApiError(400, f"{unknown[0]!r} is not supported here{did_you_mean(unknown[0], FIELDS)}")
        self._check_name(asked.get("model"))
        inputs = asked["inputs"]
        if not isinstance(inputs, list) or not inputs:
            raise ApiError(400, "inputs is a list with at least one input", param="inputs")
        if len(inputs) > self._engine.context:
            text = f"{len(inputs)} inputs are more than {self._engine.context}, the most of one request"
            raise ApiError(400, text, param="inputs")
        return inputs

    def _check_name(self, name: Any) -> None:
        names = self._engine.settings.names
        if name is not None and name not in names:
            text = f"the model {name!r} is not served here; {names[0]!r} is"
            raise ApiError(404, text, code="model_not_found", param="model")

    async def _read(self, given: list[Any], where: str) -> list[Any]:
        """As a batch has them. Images are decoded in threads; all else is quick."""
        read = self._engine.read
        if read is None:
            return given
        if self._engine.takes_images:
            loop = asyncio.get_running_loop()
            work = [loop.run_in_executor(self._engine.readers, read, one) for one in given]
            found = await asyncio.gather(*work, return_exceptions=True)
        else:
            found = [_read_or_say(read, one) for one in given]
        for number, one in enumerate(found):
            if isinstance(one, ValueError):
                raise ApiError(400, f"{where}[{number}]: {one}" if where == "inputs" else str(one), param=where)
            if isinstance(one, BaseException):
                raise one
        return found


def patience_s(headers: Mapping[str, str], timeout_s: float) -> float:
    """Seconds that the asker waits: what its header says, at most the endpoint's timeout. Raises ApiError."""
    said = headers.get(DEADLINE)
    if said is None:
        return timeout_s
    try:
        seconds = float(said) / 1000
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ApiError(400, f"{DEADLINE} is {said!r}: give milliseconds from now, above zero", param=DEADLINE)
    return min(seconds, timeout_s)


def _read_or_say(read: Any, given: Any) -> Any:
    try:
        return read(given)
    except ValueError as exc:
        return exc


async def _unless_gone(receive: Receive, ticket: Ticket) -> list[Any] | None:
    """The outputs, or None when the asker is gone: what still waits of its inputs is dropped then."""
    making = asyncio.ensure_future(_outputs(ticket))
    watching = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((making, watching), return_when=asyncio.FIRST_COMPLETED)
        return await making if making.done() else None
    finally:
        making.cancel()
        watching.cancel()


async def _outputs(ticket: Ticket) -> list[Any]:
    try:
        return await ticket.outputs()
    except ValueError as exc:
        raise ApiError(400, f"the model refuses an input: {exc}", param="inputs") from exc


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _answer(model: str, outputs: list[Any]) -> Response:
    try:
        text = json.dumps({"model": model, "outputs": outputs}, default=_plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ApiError(500, f"the model's output is nothing that JSON can say: {exc}") from exc
    return Response(text.encode(), media_type="application/json")


def _plain(value: Any) -> Any:
    """Arrays and tensors, and numbers out of them, as Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type of JSON")
