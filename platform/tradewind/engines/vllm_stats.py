"""vLLM's counts of requests, tokens and its cache, as our load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tradewind.engines.engine import EngineLoad
from tradewind.engines.tally import FirstTokens


class VllmStats:
    """Filled by vLLM after each of its steps, read by any thread."""

    def __init__(self) -> None:
        self.first_tokens = FirstTokens()
        self._running = 0
        self._kv_use = 0.0
        self._tokens_in = 0
        self._tokens_out = 0

    def load(self, requests: Sequence[Any]) -> EngineLoad:
        """The load with these open requests of vLLM (`RequestState`)."""
        running = min(self._running, len(requests))
        return EngineLoad(
            running=running,
            waiting=len(requests) - running,
            tokens_in_flight=sum(one.prompt_len + _made(one) for one in requests),
            kv_use=self._kv_use,
            ttft_p95_s=self.first_tokens.p95_s(),
            tokens_in=self._tokens_in,
            tokens_out=self._tokens_out,
        )

    def record(self, scheduler_stats: Any, iteration_stats: Any) -> None:
        if scheduler_stats is not None:
            self._running = scheduler_stats.num_running_reqs
            self._kv_use = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            self._tokens_in += iteration_stats.num_prompt_tokens
            self._tokens_out += iteration_stats.num_generation_tokens
            for seconds in iteration_stats.time_to_first_tokens_iter:
                self.first_tokens.add(seconds)

    def logger_class(self) -> Any:
        """What vLLM makes its logger of, by calling it."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        stats = self

        class Logger(StatLoggerBase):  # type: ignore[misc]  # an untyped library's
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                """Everything is in `stats`."""

            def record(self, scheduler_stats: Any, iteration_stats: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
                stats.record(scheduler_stats, iteration_stats)

            def log_engine_initialized(self) -> None:
                """Nothing to say."""

        return Logger


def _made(request: Any) -> int:
    return request.stats.num_generation_tokens if request.stats else 0
