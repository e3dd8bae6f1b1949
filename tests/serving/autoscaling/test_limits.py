from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.serving.autoscaling import Limits


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min": 3, "max": 2}, "from 3 to 2 replicas"),
        ({"min": -1}, "from -1 to 10"),
        ({"min": 0, "max": 0}, "from 0 to 0"),
        ({"cool_down_s": -1.0}, "cool_down_s is -1.0"),
        ({"cold_start_s": float("inf")}, "cold_start_s is inf"),
        ({"down_after_s": float("nan")}, "down_after_s is nan"),
        ({"ttft_s": 0.0}, "ttft_s is 0.0"),
        ({"target_tokens": -5.0}, "target_tokens is -5.0"),
    ],
)
def test_contradictions_are_refused_with_their_values(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        Limits(**values)
    assert caught.value.hint


def test_block_of_a_spec_becomes_limits_and_what_it_leaves_open_keeps_its_default() -> None:
    block = SimpleNamespace(min=0, max=7, policy="tokens", cold_start_s=None, ttft_s=0.5)
    assert Limits.of(block) == Limits(min=0, max=7, ttft_s=0.5)


def test_unknown_key_of_a_mapping_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="scaling has no 'cooldown_s' \\(did you mean 'cool_down_s'"):
        Limits.of({"cooldown_s": 3})
