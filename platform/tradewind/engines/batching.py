"""Continuous batching: one forward pass a step for all running sequences, which join and leave at any step.

After Orca (Yu et al. 2022, section 3.1: scheduling by iteration). A step reads prompts that have arrived, at most
`prompt_tokens` of them so that running answers are not held up (a longer prompt is read over several steps, as in
Sarathi-Serve, Agrawal et al. 2024, section 4.1), then makes one token for each running sequence. All of it happens in
one thread; requests come from event loops and get their pieces there, those of one step in one call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tradewind.engines.choice import choose, generator
from tradewind.engines.engine import FinishReason, Piece, Sampling
from tradewind.engines.tally import Open, Tally
from tradewind.engines.text import TextStream
from tradewind.errors import CapacityError

if TYPE_CHECKING:
    import torch

Item = Piece | BaseException


class Model(Protocol):
    """What is batched: `Decoder` for a model of `transformers`."""

    def forward(
        self, first: int, starts: Sequence[int], tokens: Sequence[Sequence[int]], adapters: Sequence[str | None]
    ) -> torch.Tensor: ...

    def move(self, source: int, target: int, length: int) -> None: ...


@dataclass(frozen=True)
class Limits:
    rows: int
    """Most sequences at once."""
    room_tokens: int
    """Most tokens of all rows, each as long as the longest may become."""
    prompt_tokens: int
    """Most tokens of prompts that a step reads."""


@dataclass(eq=False)
class Request:
    """One answer: what is known of it, and where its pieces go."""

    prompt: Sequence[int]
    sampling: Sampling
    counted: Open
    stream: TextStream
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    adapter: str | None = None
    is_closed: bool = False
    """Nobody waits for it any more; set by the event loop, seen at the next step."""
    is_finished: bool = False
    length: int = 0
    """Tokens whose keys and values are in the cache."""
    last: int = -1
    """The newest token, which the cache does not have yet."""
    made: int = 0
    text: str = ""
    """What was made and not said, of `unsaid` tokens."""
    unsaid: int = 0

    def __post_init__(self) -> None:
        self.draws = generator(self.sampling.seed) if self.sampling.temperature else None

    @property
    def longest(self) -> int:
        return len(self.prompt) + self.sampling.max_tokens


class Batcher:
    """Runs in a thread of its own from `start` to `stop`. `ends` are the tokens that end an answer."""

    def __init__(self, model: Model, tally: Tally, limits: Limits, ends: Collection[int]) -> None:
        self._model = model
        self._tally = tally
        self._limits = limits
        self._ends = frozenset(ends)
        self._changed = threading.Condition()
        self._arrived: deque[Request] = deque()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._is_stopping = False
        self._waiting: deque[Request] = deque()
        self._decoding: list[Request] = []
        """In the order of their rows."""
        self._reading: Request | None = None
        """Whose long prompt is in the row behind them, in part."""
        self._said: list[tuple[Request, Item]] = []
        self._thread = threading.Thread(target=self._run, name="batching", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Raises CapacityError once it is stopping."""
        with self._changed:
            if self._is_stopping:
                raise _stopping()
            self._arrived.append(request)
            self._changed.notify()

    def do(self, work: Callable[[], Any]) -> Future[Any]:
        """Do something else with the model, between two steps. Raises CapacityError once it is stopping."""
        done: Future[Any] = Future()
        with self._changed:
            if self._is_stopping:
                raise _stopping()
            self._jobs.append((work, done))
            self._changed.notify()
        return done

    def stop(self) -> None:
        """End all answers with CapacityError, after the step that is being made."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while self._take():
            try:
                self._step()
            except Exception as exc:  # noqa: BLE001 - handed to the requests, which raise it
                self._fail(exc)
            self._hand_out()
        self._waiting.extend(self._arrived)
        self._fail(_stopping(), also=self._waiting)
        self._hand_out()
        for _, done in self._jobs:
            done.set_exception(_stopping())

    def _take(self) -> bool:
        """Wait for something to do, and take what has arrived. False when it is to stop."""
        with self._changed:
            while not (self._is_stopping or self._arrived or self._jobs or self._is_busy()):
                self._changed.wait()
            self._waiting.extend(self._arrived)
            self._arrived.clear()
            return not self._is_stopping

    def _is_busy(self) -> bool:
        return bool(self._decoding or self._reading or self._waiting)

    def _step(self) -> None:
        while self._jobs:
            _do(*self._jobs.popleft())
        self._drop_closed()
        self._read_prompts()
        if running := self._decoding:
            scores = self._forward(0, running, [[one.last] for one in running])
            self._choose(0, scores)

    def _drop_closed(self) -> None:
        self._waiting = deque(one for one in self._waiting if not one.is_closed)
        if self._reading and self._reading.is_closed:
            self._reading = None
        self._drop(one.is_closed for one in list(self._decoding))

    def _drop(self, gone: Iterable[bool]) -> None:
        """Free rows, from the last one on, so that what moves into a hole is known to stay."""
        for row, is_gone in reversed(list(enumerate(gone))):
            if is_gone:
                self._free(row)

    def _free(self, row: int) -> None:
        self._decoding[row].counted.running = False
        last = len(self._decoding) - 1
        moved = self._decoding.pop()
        if row != last:
            self._model.move(last, row, moved.length)
            self._decoding[row] = moved
        if self._reading and self._reading.length:
            self._model.move(last + 1, last, self._reading.length)

    def _read_prompts(self) -> None:
        left = self._limits.prompt_tokens
        while left > 0:
            if self._reading:
                left -= self._read_part(self._reading, left)
            elif group := self._admitted(left):
                left -= self._read_group(group)
            elif not self._begin_long():
                return

    def _read_part(self, request: Request, most: int) -> int:
        """Read more of a long prompt; with its end, the sequence joins the others."""
        part = request.prompt[request.length : request.length + most]
        scores = self._forward(len(self._decoding), [request], [part])
        if request.length == len(request.prompt):
            self._reading = None
            self._decoding.append(request)
            self._choose(len(self._decoding) - 1, scores)
        return len(part)

    def _read_group(self, group: list[Request]) -> int:
        """Read whole prompts in one pass; gives its tokens, with those that fill up the shorter ones."""
        first, prompts = len(self._decoding), [one.prompt for one in group]
        self._decoding.extend(group)
        self._choose(first, self._forward(first, group, prompts))
        return len(group) * max(map(len, prompts))

    def _admitted(self, most: int) -> list[Request]:
        """The next waiting requests, as many as have a row and fit into one pass of at most so many tokens."""
        group: list[Request] = []
        while self._waiting and self._has_room(group):
            longest = max(len(one.prompt) for one in (*group, self._waiting[0]))
            if (len(group) + 1) * longest > most:
                break
            group.append(self._begun())
        return group

    def _begin_long(self) -> bool:
        """Begin with a prompt that does not fit into one pass. False when nothing can begin."""
        if not self._waiting or not self._has_room([]):
            return False
        if len(self._waiting[0].prompt) <= self._limits.prompt_tokens:
            return False  # in the next step
        self._reading = self._begun()
        return True

    def _begun(self) -> Request:
        request = self._waiting.popleft()
        request.counted.running = True
        return request

    def _has_room(self, group: list[Request]) -> bool:
        rows = [*self._decoding, *group, self._waiting[0]]
        longest = max(one.longest for one in rows)
        return len(rows) == 1 or (len(rows) <= self._limits.rows and len(rows) * longest <= self._limits.room_tokens)

    def _forward(self, first: int, requests: Sequence[Request], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        adapters = [one.adapter for one in requests]
        scores = self._model.forward(first, [one.length for one in requests], tokens, adapters)
        for request, new in zip(requests, tokens, strict=True):
            request.length += len(new)
        return scores

    def _choose(self, first: int, scores: torch.Tensor) -> None:
        """A new token for each sequence from a row on; those that end with it leave."""
        likeliest = scores.argmax(dim=-1).tolist()
        for index, request in enumerate(self._decoding[first:]):
            token = (
                likeliest[index] if request.draws is None else choose(scores[index], request.sampling, request.draws)
            )
            self._add(request, token)
        self._drop(one.is_finished for one in list(self._decoding))

    def _add(self, request: Request, token: int) -> None:
        request.last = token
        request.made += 1
        request.unsaid += 1
        self._tally.made(request.counted, 1)
        text, reason = self._text(request, token)
        request.text += text
        request.is_finished = reason is not None
        if reason or (request.text and not request.sampling.whole):
            self._said.append((request, Piece(request.text, request.unsaid, reason)))
            request.text, request.unsaid = "", 0

    def _text(self, request: Request, token: int) -> tuple[str, FinishReason | None]:
        """What a new token adds to an answer, and whether it ends it."""
        stream = request.stream
        if token in self._ends and not request.sampling.ignore_eos:
            return stream.finish(), "stop"
        text = stream.push(token)
        if not stream.stopped and request.made == request.sampling.max_tokens:
            text += stream.finish()
            return text, "stop" if stream.stopped else "length"
        return text, "stop" if stream.stopped else None

    def _fail(self, error: Exception, *, also: Iterable[Request] = ()) -> None:
        """End everything that runs with an error."""
        ended = [*self._decoding, *([self._reading] if self._reading else []), *also]
        self._said.extend((request, error) for request in ended)
        self._decoding, self._reading = [], None

    def _hand_out(self) -> None:
        """Give each event loop its requests' pieces, in one call."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, Item]]] = defaultdict(list)
        for request, item in self._said:
            by_loop[request.loop].append((request, item))
        self._said = []
        for loop, items in by_loop.items():
            try:
                loop.call_soon_threadsafe(_put, items)
            except RuntimeError:  # the loop is closed, and with it everybody who waited there
                for request, _ in items:
                    request.is_closed = True


def _put(items: list[tuple[Request, Item]]) -> None:
    for request, item in items:
        request.queue.put_nowait(item)


def _do(work: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(work())
    except Exception as exc:  # noqa: BLE001 - handed to whoever asked
        done.set_exception(exc)


def _stopping() -> CapacityError:
    return CapacityError("the engine is stopping", hint="ask again; another replica will answer")
