"""The `transformers` engine: any causal language model that the library knows, on the processor, one answer at a time.

Answers are made in one thread, in the order in which they were asked for; what waits is counted in `stats`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.engines.engine import EngineStats, FinishReason, Piece, Sampling
from tradewind.engines.text import TextStream
from tradewind.errors import CapacityError, IntegrityError

if TYPE_CHECKING:
    import torch

Emit = Callable[[Piece | BaseException | None], None]


class TransformersEngine:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self._model: Any = None
        self._tokenizer: Any = None
        self._open: set[threading.Event] = set()
        self._running = 0
        self._tokens_in = 0
        self._tokens_out = 0

    def start(self, folder: Path) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
            self._model, loading = loaded
        except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
            raise _damaged(str(exc)) from exc
        if loading["missing_keys"]:  # transformers makes them up, and only warns
            raise _damaged(f"its weights lack {', '.join(sorted(loading['missing_keys'])[:3])}")
        self._model.eval()
        for _ in self._tokens("a", Sampling(max_tokens=1, temperature=0), threading.Event()):
            break

    @property
    def context(self) -> int:
        return int(self._model.config.max_position_embeddings)

    def count(self, prompt: str) -> int:
        return len(self._tokenizer(prompt)["input_ids"])

    async def generate(self, prompt: str, sampling: Sampling) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
        cancelled = threading.Event()
        self._open.add(cancelled)

        def emit(item: Piece | BaseException | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        self._tokens_in += self.count(prompt)
        work = self._thread.submit(self._answer, prompt, sampling, cancelled, emit)
        work.add_done_callback(lambda done: emit(None) if done.cancelled() else None)  # by `stop`, before its turn
        finished = False
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                self._tokens_out += item.tokens
                finished = item.finish_reason is not None
                yield item
            if not finished:
                raise CapacityError("the engine is stopping", hint="ask again; another replica will answer")
        finally:
            cancelled.set()
            work.cancel()
            self._open.discard(cancelled)

    def stats(self) -> EngineStats:
        waiting = max(0, len(self._open) - self._running)
        return EngineStats(self._running, waiting, self._tokens_in, self._tokens_out)

    def stop(self) -> None:
        for cancelled in list(self._open):
            cancelled.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _answer(self, prompt: str, sampling: Sampling, cancelled: threading.Event, emit: Emit) -> None:
        """One whole answer, in the engine's thread."""
        self._running += 1
        try:
            for piece in self._pieces(prompt, sampling, cancelled):
                emit(piece)
            emit(None)
        except Exception as exc:  # noqa: BLE001 - handed to the request, which raises it
            emit(exc)
        finally:
            self._running -= 1

    def _pieces(self, prompt: str, sampling: Sampling, cancelled: threading.Event) -> Iterator[Piece]:
        stream = TextStream(lambda ids: str(self._tokenizer.decode(ids, skip_special_tokens=True)), sampling.stop)
        reason: FinishReason = "length"
        unsaid = 0
        for token in self._tokens(prompt, sampling, cancelled):
            if token == self._tokenizer.eos_token_id:
                reason = "stop"
                unsaid += 1
                break
            text = stream.push(token)
            unsaid += 1
            if text:
                yield Piece(text, unsaid)
                unsaid = 0
            if stream.stopped:
                break
        if cancelled.is_set():
            return
        rest = stream.finish()
        yield Piece(rest, unsaid, "stop" if stream.stopped else reason)

    def _tokens(self, prompt: str, sampling: Sampling, cancelled: threading.Event) -> Iterator[int]:
        """New token ids one by one, each step using the keys and values of the steps before."""
        import torch

        generator = torch.Generator()
        if sampling.seed is not None:
            generator.manual_seed(sampling.seed)
        else:
            generator.seed()
        ids = self._tokenizer(prompt, return_tensors="pt")["input_ids"]
        if ids.shape[1] == 0:
            ids = torch.tensor([[self._tokenizer.bos_token_id]])
        past = None
        for _ in range(sampling.max_tokens):
            if cancelled.is_set():
                return
            with torch.inference_mode():
                output = self._model(input_ids=ids, past_key_values=past, use_cache=True)
                token = choose(output.logits[0, -1], sampling, generator)
            past = output.past_key_values
            ids = torch.tensor([[token]])
            yield token


def choose(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the likeliest at temperature 0, else a draw from the smallest set with `top_p` of the weight.

    Nucleus sampling after Holtzman et al. 2020, section 3.1.
    """
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()).double() / sampling.temperature  # no temperature is too small for that
    weights, tokens = torch.sort(torch.softmax(scaled, dim=-1), descending=True)
    before = weights.cumsum(dim=-1) - weights
    weights[before >= sampling.top_p] = 0.0
    return int(tokens[torch.multinomial(weights, 1, generator=generator)])


def _damaged(text: str) -> IntegrityError:
    return IntegrityError(f"transformers cannot load the model: {text}", hint="export and check its files")
