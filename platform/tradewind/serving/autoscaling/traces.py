"""Traces of requests: when each comes and how long it is. The same seed gives the same trace."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Rate = Callable[[float], float]


@dataclass(frozen=True)
class Arrival:
    time_s: float
    tokens_in: int
    tokens_out: int

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True)
class Trace:
    name: str
    duration_s: float
    arrivals: tuple[Arrival, ...]


def trace(name: str, rate: Rate, *, duration_s: float, seed: int, tokens_in: int = 128, tokens_out: int = 128) -> Trace:
    """Poisson arrivals at `rate(time_s)` requests/s, which is looked up once a second.

    Answers vary evenly from half to one and a half of `tokens_out`.
    """
    chance = random.Random(seed)
    arrivals = []
    for second in range(math.ceil(duration_s)):
        expected = max(0.0, rate(float(second)))
        time_s = second + (chance.expovariate(expected) if expected else math.inf)
        while time_s < min(second + 1, duration_s):
            length = round(tokens_out * chance.uniform(0.5, 1.5))
            arrivals.append(Arrival(time_s, tokens_in, max(1, length)))
            time_s += chance.expovariate(expected)
    return Trace(name, duration_s, tuple(arrivals))


def step(*, low: float, duration_s: float, times: float = 6.0, seed: int = 0) -> Trace:
    """`times` as many requests during the middle third."""
    third_s = duration_s / 3
    return trace(
        "step", lambda now_s: low * (times if third_s <= now_s < 2 * third_s else 1), duration_s=duration_s, seed=seed
    )


def sawtooth(*, low: float, high: float, duration_s: float, period_s: float = 240.0, seed: int = 0) -> Trace:
    """Rises evenly for a period and falls at once."""
    return trace(
        "sawtooth", lambda now_s: low + (high - low) * (now_s % period_s) / period_s, duration_s=duration_s, seed=seed
    )


def diurnal(*, low: float, high: float, duration_s: float, noise: float = 0.2, seed: int = 0) -> Trace:
    """One day as a sine squeezed into `duration_s`, with a relative error of `noise` that is new every 30 s."""
    chance = random.Random(seed + 1)
    errors = [chance.gauss(1.0, noise) for _ in range(math.ceil(duration_s / 30) + 1)]

    def rate(now_s: float) -> float:
        wave = (1 - math.cos(2 * math.pi * now_s / duration_s)) / 2
        return (low + (high - low) * wave) * max(0.0, errors[int(now_s // 30)])

    return trace("diurnal", rate, duration_s=duration_s, seed=seed)


def flash_crowd(*, low: float, high: float, duration_s: float, seed: int = 0) -> Trace:
    """From `low` to `high` within 30 s at a third of the time, back with a half-life of 2 minutes."""
    start_s = duration_s / 3

    def rate(now_s: float) -> float:
        since_s = now_s - start_s
        if since_s < 0:
            return low
        share = since_s / 30 if since_s < 30 else 0.5 ** ((since_s - 30) / 120)
        return low + (high - low) * share

    return trace("flash crowd", rate, duration_s=duration_s, seed=seed)


def bursts(*, low: float, high: float, duration_s: float, seed: int = 0) -> Trace:
    """Quiet and busy times of random lengths: exponential, 120 s and 45 s on average."""
    chance = random.Random(seed + 2)
    edges, now_s = [0.0], 0.0
    while now_s < duration_s:
        now_s += chance.expovariate(1 / (120 if len(edges) % 2 else 45))
        edges.append(now_s)

    def rate(now_s: float) -> float:
        return low if sum(edge <= now_s for edge in edges) % 2 else high

    return trace("bursts", rate, duration_s=duration_s, seed=seed)


def five_shapes(*, low: float = 1.5, high: float = 9.0, duration_s: float = 3600.0, seed: int = 0) -> list[Trace]:
    """The shapes that policies are compared on, between the same two rates."""
    return [
        step(low=low, times=high / low, duration_s=duration_s, seed=seed),
        sawtooth(low=low, high=high, duration_s=duration_s, seed=seed),
        diurnal(low=low, high=high, duration_s=duration_s, seed=seed),
        flash_crowd(low=low, high=high, duration_s=duration_s, seed=seed),
        bursts(low=low, high=high, duration_s=duration_s, seed=seed),
    ]
