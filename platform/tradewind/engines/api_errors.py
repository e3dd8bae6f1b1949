"""Errors of the HTTP API, in the shape of OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tradewind.errors import CapacityError, SpecError

if TYPE_CHECKING:
    from fastapi import FastAPI

_TYPES = {404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def add_error_handlers(app: FastAPI, blocks: Mapping[str, type[BaseModel]]) -> None:
    """Every error that leaves the app has OpenAI's shape and says what is wrong; none shows a stack.

    `blocks` are the requests by their path, of which a wrong field's message lists the fields.
    """
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    @app.exception_handler(ApiError)
    async def api_error(_: Request, exc: ApiError) -> JSONResponse:
        return JSONResponse(error_body(exc.status, str(exc), exc.code, exc.param), exc.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, exc: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {exc.detail}"
        return JSONResponse(error_body(exc.status_code, text), exc.status_code, exc.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, exc: RequestValidationError) -> JSONResponse:
        param, text = _complaint(exc.errors()[0], blocks.get(request.url.path))
        return JSONResponse(error_body(400, text, param=param), 400)

    @app.exception_handler(SpecError)
    async def impossible(_: Request, exc: SpecError) -> JSONResponse:
        return JSONResponse(error_body(400, said(exc)), 400)

    @app.exception_handler(CapacityError)
    async def stopping(_: Request, exc: CapacityError) -> JSONResponse:
        return JSONResponse(error_body(503, exc.message), 503, {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def failed(_: Request, exc: Exception) -> JSONResponse:
        return JSONResponse(error_body(500, f"{type(exc).__name__}: {exc}"), 500)


def said(exc: SpecError) -> str:
    """Message and hint in one line."""
    return f"{exc.message}; {exc.hint}" if exc.hint else exc.message


def _complaint(problem: Any, block: type[BaseModel] | None) -> tuple[str | None, str]:
    """The field that is wrong, and in which way."""
    where = [str(part) for part in problem["loc"][1:]]
    if problem["type"] == "json_invalid":  # where: the position in the body
        return None, f"body: no JSON, {problem['ctx']['error']}"
    if problem["type"] == "extra_forbidden":
        param = ".".join(where)
        known = f"; known: {', '.join(block.model_fields)}" if block and len(where) == 1 else ""
        return param, f"{param!r} is not supported here{known}"
    field = where[0] if where else None  # behind it stands which of its kinds did not fit
    return field, f"{field or 'body'}: {problem['msg'].removeprefix('Value error, ')}"
