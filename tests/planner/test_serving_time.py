"""Measured figures: vLLM 0.26 on one H200, an 8B Llama in bf16 with made-up weights, no prefix cache, 2026-11-21."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.h200 import H200, LLAMA_8B, ONE
from tradewind.catalog.chip import Precision
from tradewind.families import ModelShape
from tradewind.families.family import Experts, Latent
from tradewind.planner.layout import Layout, ServingSetup
from tradewind.planner.node import Node
from tradewind.planner.serving_time import (
    REQUEST_S,
    SERVER_S,
    ServingRate,
    replicas_needed,
    serving_load,
    serving_rate,
)
from tradewind.planner.work import ServingWork

NODE = Node(H200, 8, None, 400e9, rdma=True)
LATENT = ModelShape(
    "deepseek", 129280, 7168, 61, 128, 128, 192, 18432, 4096, tied=False,
    latent=Latent(1536, 512, 64, 128, 128), experts=Experts(256, 8, 1, 2048, 3),
)  # fmt: skip


def work(
    tokens_in: int = 512,
    tokens_out: int = 128,
    *,
    shape: ModelShape = LLAMA_8B,
    ttft_s: float | None = None,
    itl_s: float | None = None,
    weights: Precision = "bf16",
) -> ServingWork:
    return ServingWork(shape, 20.0, 3.0, tokens_in, tokens_out, 24.0, ttft_s, itl_s, weights)


def rate(wish: ServingWork, sequences: int = 256, layout: Layout = ONE, node: Node = NODE) -> ServingRate:
    return serving_rate(wish, ServingSetup(layout, sequences), node)


@pytest.mark.parametrize(
    ("requests", "tokens_in", "tokens_out", "requests_per_s"),
    [(1000, 512, 128, 54.8), (400, 1024, 1024, 9.15), (500, 2048, 1, 20.8)],
)
def test_offline_rates_are_predicted_within_5_percent(
    requests: int, tokens_in: int, tokens_out: int, requests_per_s: float
) -> None:
    found = rate(work(tokens_in, tokens_out), requests)
    assert found.requests_per_s == pytest.approx(requests_per_s, rel=0.05)
    assert found.tokens_per_s == pytest.approx(requests_per_s * (tokens_in + tokens_out), rel=0.05)


@pytest.mark.parametrize(("batch", "ms"), [(1, 645), (8, 748), (32, 1106)])
def test_time_of_a_batch_is_predicted_within_5_percent(batch: int, ms: float) -> None:
    assert 128 * rate(work(), batch).itl_s == pytest.approx(ms / 1e3, rel=0.05)


@pytest.mark.parametrize(("batch", "ms"), [(1, 4.95), (8, 5.11), (32, 5.69)])
def test_time_of_each_further_token_is_predicted_within_5_percent(batch: int, ms: float) -> None:
    whole_s, first_s = 128 * rate(work(), batch).itl_s, rate(work(512, 1), batch).itl_s
    assert (whole_s - first_s) / 127 == pytest.approx(ms / 1e3, rel=0.05)


@pytest.mark.parametrize(("batch", "ms"), [(1, 16.2), (8, 99.1), (32, 383.5)])
def test_time_to_read_prompts_is_predicted_within_5_percent(batch: int, ms: float) -> None:
    assert rate(work(512, 1), batch).itl_s + REQUEST_S == pytest.approx(ms / 1e3, rel=0.05)


@pytest.mark.parametrize(("requests_per_s", "ttft_ms", "itl_ms"), [(7.75, 31.9, 5.53), (30.79, 49.2, 9.43)])
def test_online_times_under_load_are_predicted_within_15_percent(
    requests_per_s: float, ttft_ms: float, itl_ms: float
) -> None:
    found = serving_load(work(), ServingSetup(Layout(), 256), NODE, requests_per_s)
    assert found is not None
    assert found.ttft_s == pytest.approx(ttft_ms / 1e3, rel=0.15)
    assert found.itl_s == pytest.approx(itl_ms / 1e3, rel=0.15)


def test_rate_keeps_the_bounds_and_comes_near_them() -> None:
    free, bound = rate(work()), rate(work(itl_s=0.012))
    assert free.itl_s > 0.012 >= bound.itl_s > 0.011
    assert bound.requests_per_s < free.requests_per_s
    first = rate(work(ttft_s=0.06))
    assert 0.055 < first.ttft_s <= 0.06


def test_bound_that_an_idle_replica_breaks_is_shown_by_its_time() -> None:
    found = rate(work(itl_s=0.001))
    assert found.itl_s > 0.001
    assert found.sequences < 1


def test_more_in_flight_give_more_tokens_and_longer_waits() -> None:
    few, many = rate(work(), 8), rate(work(), 64)
    assert many.tokens_per_s > few.tokens_per_s
    assert many.itl_s > few.itl_s
    assert many.ttft_s > few.ttft_s > REQUEST_S + SERVER_S


def test_load_beyond_the_most_has_no_answer() -> None:
    setup = ServingSetup(Layout(), 64)
    most = serving_rate(work(), setup, NODE).requests_per_s
    assert serving_load(work(), setup, NODE, 1.01 * most) is None
    at_load = serving_load(work(), setup, NODE, 0.5 * most)
    assert at_load is not None
    assert at_load.requests_per_s == pytest.approx(0.5 * most, rel=0.02)


def test_two_chips_answer_faster_but_not_twice_as_fast() -> None:
    one, two = rate(work(), 8), rate(work(), 8, Layout(tensor=2))
    assert one.itl_s / 2 < two.itl_s < one.itl_s


def test_stages_do_not_shorten_the_time_of_a_token() -> None:
    assert rate(work(), 8, Layout(pipeline=2)).itl_s >= rate(work(), 4).itl_s


def test_weights_in_fewer_bits_are_read_faster() -> None:
    times = [rate(work(weights=weights), 1).itl_s for weights in ("bf16", "fp8", "int4")]
    assert times[0] > times[1] > times[2]


def test_few_answers_read_few_experts() -> None:
    one, many = (rate(work(64, 4096, shape=LATENT), count, Layout(tensor=8)) for count in (1, 512))
    assert many.itl_s > 3 * one.itl_s
    assert many.tokens_per_s > 50 * one.tokens_per_s


def test_experts_on_their_own_chips_have_a_rate() -> None:
    assert rate(work(shape=LATENT), 512, Layout(expert=8)).requests_per_s > 0


def test_replicas_are_for_the_busiest_hour() -> None:
    wish = work()
    assert replicas_needed(wish, replace(rate(wish), requests_per_s=60.0)) == 1
    assert replicas_needed(wish, replace(rate(wish), requests_per_s=59.9)) == 2
    assert replicas_needed(wish, replace(rate(wish), requests_per_s=1.0)) == 60


@given(
    tokens_in=st.integers(1, 8192),
    tokens_out=st.integers(1, 4096),
    sequences=st.integers(1, 1024),
    tensor=st.sampled_from([1, 2, 8]),
)
def test_no_load_is_negative_or_faster_than_memory(
    tokens_in: int, tokens_out: int, sequences: int, tensor: int
) -> None:
    found = rate(work(tokens_in, tokens_out), sequences, Layout(tensor=tensor))
    weights_s = 2 * 7.5e9 / tensor / 4.8e12
    assert found.itl_s > weights_s
    assert found.ttft_s > weights_s
    assert 0 < found.requests_per_s < found.tokens_per_s
