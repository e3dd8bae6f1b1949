"""Metrics of every engine under one scheme of names, as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from tradewind.engines.engine import EngineLoad
from tradewind.engines.tally import TTFT_BOUNDS_S, FirstTokens

PREFIX = "tradewind_engine_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(model: str, load: EngineLoad, first_tokens: FirstTokens, phases: Mapping[str, float]) -> str:
    """All metrics of one engine; `model` is the label that each carries."""
    label = f'model="{_escaped(model)}"'
    lines = [*_gauges(label, load), *_counters(label, load), *_ttft(label, first_tokens), *_phases(label, phases)]
    return "\n".join(lines) + "\n"


def _gauges(label: str, load: EngineLoad) -> Iterator[str]:
    yield from _metric("requests_running", "gauge", "Requests that are worked on", label, load.running)
    yield from _metric("requests_waiting", "gauge", "Requests that wait for a slot", label, load.waiting)
    yield from _metric("tokens_in_flight", "gauge", "Tokens of open requests", label, load.tokens_in_flight)
    if load.kv_use is not None:
        yield from _metric("kv_use_ratio", "gauge", "Share of the cache's room that is taken", label, load.kv_use)


def _counters(label: str, load: EngineLoad) -> Iterator[str]:
    yield from _metric("prompt_tokens_total", "counter", "Tokens of prompts", label, load.tokens_in)
    yield from _metric("generated_tokens_total", "counter", "Tokens of answers", label, load.tokens_out)


def _metric(name: str, kind: str, what: str, label: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, what)
    yield f"{PREFIX}{name}{{{label}}} {value}"


def _ttft(label: str, first_tokens: FirstTokens) -> Iterator[str]:
    name = "time_to_first_token_seconds"
    yield from _head(name, "histogram", "Seconds from a request to its first token")
    *counts, total = accumulate(first_tokens.buckets)
    for bound, count in zip(TTFT_BOUNDS_S, counts, strict=True):
        yield f'{PREFIX}{name}_bucket{{{label},le="{bound}"}} {count}'
    yield f'{PREFIX}{name}_bucket{{{label},le="+Inf"}} {total}'
    yield f"{PREFIX}{name}_sum{{{label}}} {first_tokens.sum_s}"
    yield f"{PREFIX}{name}_count{{{label}}} {total}"


def _phases(label: str, phases: Mapping[str, float]) -> Iterator[str]:
    yield from _head("start_seconds", "gauge", "Seconds of the start by phase")
    yield from (f'{PREFIX}start_seconds{{{label},phase="{name}"}} {value}' for name, value in phases.items())


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {what}"
    yield f"# TYPE {PREFIX}{name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
