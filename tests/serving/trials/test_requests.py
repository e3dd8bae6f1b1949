from __future__ import annotations

import json

import pytest

from tradewind.errors import SpecError
from tradewind.records import ServingLoad
from tradewind.serving.trials.requests import Requests, check_context

LOAD = ServingLoad(clients=4, seconds=1, tokens_in=40, tokens_out=20)


def test_same_number_is_the_same_request_and_prompts_begin_unlike() -> None:
    first, again = Requests("pilot", LOAD), Requests("pilot", LOAD)
    assert [first.body(n) for n in range(20)] == [again.body(n) for n in range(20)]
    prompts = {json.loads(first.body(n))["prompt"][:30] for n in range(200)}
    assert len(prompts) == 200


def test_lengths_have_the_mean_of_the_traffic_and_stay_within_their_bounds() -> None:
    bodies = [json.loads(Requests("pilot", LOAD, words_per_token=0.5).body(n)) for n in range(2000)]
    words = [len(body["prompt"].split()) for body in bodies]
    tokens = [body["max_tokens"] for body in bodies]
    assert (min(words), max(words), min(tokens), max(tokens)) == (10, 30, 10, 30)
    assert sum(words) / 2000 == pytest.approx(20, rel=0.03)
    assert sum(tokens) / 2000 == pytest.approx(20, rel=0.03)


def test_traffic_that_the_context_has_no_room_for_is_refused() -> None:
    check_context(LOAD, 90)
    with pytest.raises(SpecError, match=r"90 tokens .* context is 89"):
        check_context(LOAD, 89)
