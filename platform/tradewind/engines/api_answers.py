"""Answers of the HTTP API: a text as it is made, in events or whole, with what it took.

The parts of an event that do not change are written once for a request; for a token only its text is escaped, by the
C code of `json`. A client that goes away ends the work at once, whether or not it is streaming: the connection is
watched while the answer is made.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response

from tradewind.engines.api_errors import error_body, said
from tradewind.engines.api_requests import StreamOptions
from tradewind.engines.engine import Piece, Prompt, Sampling, TextEngine
from tradewind.errors import SpecError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

EVENT_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
JSON_HEADERS = [(b"content-type", b"application/json")]


@dataclass
class Served:
    """What one request took, told when it ends, however it ends."""

    tokens_in: int = 0
    tokens_out: int = 0
    began: float = 0.0
    seconds: float = 0.0
    answered: bool = False
    """To the end: nothing failed, and nobody went away."""

    def usage(self) -> dict[str, int]:
        total = self.tokens_in + self.tokens_out
        return {"prompt_tokens": self.tokens_in, "completion_tokens": self.tokens_out, "total_tokens": total}


Report = Callable[[Served], None]


class Shape(NamedTuple):
    """How a text is said in one of OpenAI's two ways."""

    id_prefix: str
    whole: str
    """The `object` of a whole answer."""
    part: str
    """The `object` of an event."""
    is_chat: bool

    def choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {"index": index, **said, "finish_reason": reason, "logprobs": None}

    def opening(self, index: int) -> str:
        """The beginning of a choice of an event, up to its text."""
        return f'{{"index":{index},"delta":{{"content":' if self.is_chat else f'{{"index":{index},"text":'

    def closing(self, reason: str | None) -> str:
        """The end of a choice of an event, from behind its text."""
        return f'{"}" if self.is_chat else ""},"finish_reason":{json.dumps(reason)},"logprobs":null}}]'


COMPLETION = Shape("cmpl", "text_completion", "text_completion", is_chat=False)
CHAT = Shape("chatcmpl", "chat.completion", "chat.completion.chunk", is_chat=True)


@dataclass(frozen=True)
class Work:
    """What is asked of an engine: an answer for each prompt."""

    engine: TextEngine
    prompts: Sequence[Prompt]
    sampling: Sampling
    model: str
    adapter: str | None
    report: Report

    async def pieces(self, served: Served) -> AsyncGenerator[tuple[int, Piece], None]:
        """Pieces of all answers as they come, each with the number of its prompt. Prompts are worked on at once."""
        served.began = time.monotonic()
        served.tokens_in = sum(prompt.tokens for prompt in self.prompts)
        try:
            async with aclosing(self._merged()) as merged:
                async for index, piece in merged:
                    served.tokens_out += piece.tokens
                    yield index, piece
            served.answered = True
        finally:
            served.seconds = time.monotonic() - served.began
            self.report(served)

    async def _merged(self) -> AsyncGenerator[tuple[int, Piece], None]:
        if len(self.prompts) == 1:
            async with aclosing(self._one(self.prompts[0])) as pieces:
                async for piece in pieces:
                    yield 0, piece
            return
        queue: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._into(queue, number)) for number in range(len(self.prompts))]
            try:
                open_answers = len(tasks)
                while open_answers:
                    index, piece = await queue.get()
                    open_answers -= piece.finish_reason is not None
                    yield index, piece
            finally:
                for task in tasks:
                    task.cancel()

    async def _into(self, queue: asyncio.Queue[tuple[int, Piece]], number: int) -> None:
        async with aclosing(self._one(self.prompts[number])) as pieces:
            async for piece in pieces:
                queue.put_nowait((number, piece))

    def _one(self, prompt: Prompt) -> Any:
        """The engine's iterator: an async generator, which `aclosing` closes."""
        return self.engine.generate(prompt, self.sampling, adapter=self.adapter)


class Answer(Response):
    """The answer to one request; `options` is None where it is not streamed."""

    def __init__(self, work: Work, shape: Shape, options: StreamOptions | None) -> None:
        self.background = None
        self.status_code = 200
        self._work = work
        self._shape = shape
        self._options = options
        self._id = f"{shape.id_prefix}-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._served = Served()
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        making = asyncio.ensure_future(self._stream(send) if self._options else self._whole(send))
        watching = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((making, watching), return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                await making
        finally:
            making.cancel()
            watching.cancel()
            await asyncio.gather(making, watching, return_exceptions=True)  # what they held is given back here

    async def _whole(self, send: Send) -> None:
        texts = ["" for _ in self._work.prompts]
        reasons: list[str | None] = [None for _ in texts]
        async with aclosing(self._work.pieces(self._served)) as pieces:
            async for index, piece in pieces:
                texts[index] += piece.text
                reasons[index] = piece.finish_reason
        choices = [
            self._shape.choice(index, text, reason)
            for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))
        ]
        head = {"id": self._id, "object": self._shape.whole, "created": self._created, "model": self._work.model}
        body = {**head, "choices": choices, "usage": self._served.usage()}
        await send_json(send, body)

    async def _stream(self, send: Send) -> None:
        """Server-sent events, from the first token on: what fails before has its own status.

        An error in the middle becomes an event, since the status has been sent.
        """
        options = self._options or StreamOptions()
        head = self._head()
        try:
            await self._events(send, head, has_usage=options.continuous_usage_stats)
        except Exception as exc:  # the end of the stream is the only place left to say it
            if not self._has_begun:
                raise
            text = said(exc) if isinstance(exc, SpecError) else f"{type(exc).__name__}: {exc}"
            last = f"data: {json.dumps(error_body(500, text), ensure_ascii=False)}\n\n"
        else:
            usage = f"{head}],{self._usage()}}}\n\n" if options.include_usage else ""
            last = f"{usage}data: [DONE]\n\n"
        await send({"type": "http.response.body", "body": last.encode()})

    async def _events(self, send: Send, head: str, *, has_usage: bool) -> None:
        shape = self._shape
        openings = [f"{head}{shape.opening(index)}" for index in range(len(self._work.prompts))]
        closing = shape.closing(None)
        async with aclosing(self._work.pieces(self._served)) as pieces:
            async for index, piece in pieces:
                if not self._has_begun:
                    await self._begin(send, head)
                end = closing if piece.finish_reason is None else shape.closing(piece.finish_reason)
                if has_usage:
                    end = f"{end},{self._usage()}"
                text = f"{openings[index]}{quoted(piece.text)}{end}}}\n\n"
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _begin(self, send: Send, head: str) -> None:
        self._has_begun = True
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_HEADERS})
        if self._shape.is_chat:
            role = f'{head}{{"index":0,"delta":{{"role":"assistant","content":""{self._shape.closing(None)}}}\n\n'
            await send({"type": "http.response.body", "body": role.encode(), "more_body": True})

    def _head(self) -> str:
        """The beginning of an event, up to its choices."""
        named = f'"object":"{self._shape.part}","created":{self._created},"model":{quoted(self._work.model)}'
        return f'data: {{"id":"{self._id}",{named},"choices":['

    def _usage(self) -> str:
        return f'"usage":{json.dumps(self._served.usage())}'


async def send_json(send: Send, body: Any) -> None:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [*JSON_HEADERS, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
