"""What clients saw in a window of time, from the bytes and times of their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tradewind.errors import RunError
from tradewind.records import ServingFigures
from tradewind.serving.trials.stream import Answer


@dataclass(frozen=True)
class Window:
    """By the clock of the answers, in seconds."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def has(self, at: float | None) -> bool:
        return at is not None and self.began <= at <= self.ended


@dataclass(frozen=True)
class _Seen:
    """When parts of one answer came. `tokens` are known of answers that have ended."""

    asked: float
    parts: tuple[float, ...]
    ended: float | None
    tokens: int


def figures(answers: Sequence[Answer], window: Window) -> ServingFigures:
    """Of what came in the window, whenever it was asked for. Raises RunError when that is too little.

    A first token that has not come counts as what has been waited for it, once that is longer than the 95th percentile
    of those that came: a server that stands still is not seen by those whom it has answered.
    """
    seen = [_seen(answer) for answer in answers]
    ended = [one for one in seen if window.has(one.ended)]
    gaps = [later - sooner for one in seen for sooner, later in pairwise(one.parts) if window.has(later)]
    first = list(_first_tokens(seen, window))
    if not (ended and gaps and first):
        hint = "measure longer, with shorter answers or fewer clients"
        raise RunError(f"no answer came to its end in the {window.seconds:.1f} s that were measured", hint=hint)
    parts = sum(window.has(at) for one in seen for at in one.parts)
    whole = [one for one in seen if one.tokens]
    tokens_per_part = sum(one.tokens for one in whole) / sum(len(one.parts) for one in whole)
    answered = [one.ended - one.asked for one in ended if one.ended]
    return ServingFigures(
        answers=len(ended),
        requests_per_s=len(ended) / window.seconds,
        tokens_per_s=parts * tokens_per_part / window.seconds,
        ttft_p50_s=percentile(first, 50),
        ttft_p95_s=percentile(first, 95),
        itl_p50_s=percentile(gaps, 50),
        itl_p95_s=percentile(gaps, 95),
        answer_p50_s=percentile(answered, 50),
        answer_p95_s=percentile(answered, 95),
    )


def percentile(values: Sequence[float], share: int) -> float:
    """By the nearest rank: a value that was seen, the largest when there are few."""
    return sorted(values)[-(-len(values) * share // 100) - 1]


def _seen(answer: Answer) -> _Seen:
    parts = tuple(at for at, event in answer.events() if event.get("choices"))
    return _Seen(answer.asked, parts, answer.ended, answer.usage()["completion_tokens"] if answer.ended else 0)


def _first_tokens(seen: Sequence[_Seen], window: Window) -> Iterator[float]:
    came = [one.parts[0] - one.asked for one in seen if one.parts and window.has(one.parts[0])]
    usual = percentile(came, 95) if came else 0.0
    yield from came
    yield from (waited for one in seen if not one.parts and (waited := window.ended - one.asked) > usual)
