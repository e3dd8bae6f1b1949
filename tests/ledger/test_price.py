from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.ledger import token_price, window_usd

NODE = {"node_usd_per_hour": 20.0, "nodes": 3, "hours": 24.0}


def test_window_costs_its_nodes_its_egress_and_its_share_of_idle_machines() -> None:
    """3 × 24 × $20 = $1,440, with $12.50 of egress and $47.50 of machines that stood by."""
    assert window_usd(**NODE) == 1440.0
    assert window_usd(**NODE, egress_usd=12.5, idle_usd=47.5) == 1500.0


def test_price_of_a_million_tokens_is_what_a_person_computes() -> None:
    """$1,500; 600 M tokens in and 100 M out at 4 times their time are as long as 1,000 M in: $1.50, and $6 out."""
    made = token_price(window_usd(**NODE, egress_usd=12.5, idle_usd=47.5), tokens_in=600_000_000,
                       tokens_out=100_000_000, out_per_in=4.0)  # fmt: skip
    assert round(made.usd_per_million_in or 0, 2) == 1.50
    assert round(made.usd_per_million_out or 0, 2) == 6.00


@given(tokens_in=st.integers(1, 10**12), tokens_out=st.integers(1, 10**12), out_per_in=st.floats(0.1, 100))
def test_half_the_utilisation_doubles_the_price(tokens_in: int, tokens_out: int, out_per_in: float) -> None:
    whole = token_price(1440.0, tokens_in=2 * tokens_in, tokens_out=2 * tokens_out, out_per_in=out_per_in)
    half = token_price(1440.0, tokens_in=tokens_in, tokens_out=tokens_out, out_per_in=out_per_in)
    for dear, cheap in (
        (half.usd_per_million_in, whole.usd_per_million_in),
        (half.usd_per_million_out, whole.usd_per_million_out),
    ):
        assert dear is not None
        assert cheap is not None
        assert dear == pytest.approx(2 * cheap)


@given(
    usd=st.floats(0, 1e6), tokens_in=st.integers(0, 10**12), tokens_out=st.integers(0, 10**12),
    out_per_in=st.floats(0.1, 100),
)  # fmt: skip
def test_tokens_at_their_prices_are_the_whole_cost(
    usd: float, tokens_in: int, tokens_out: int, out_per_in: float
) -> None:
    made = token_price(usd, tokens_in=tokens_in, tokens_out=tokens_out, out_per_in=out_per_in)
    total = (tokens_in * (made.usd_per_million_in or 0) + tokens_out * (made.usd_per_million_out or 0)) / 1e6
    assert total == pytest.approx(usd if tokens_in or tokens_out else 0)


def test_without_tokens_there_is_no_price() -> None:
    made = token_price(10.0, tokens_in=0, tokens_out=0, out_per_in=4.0)
    assert (made.usd_per_million_in, made.usd_per_million_out) == (None, None)


@pytest.mark.parametrize("wrong", [{"usd": -1.0}, {"usd": float("nan")}, {"tokens_in": -1}, {"out_per_in": 0.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    values = {"usd": 1.0, "tokens_in": 1, "tokens_out": 1, "out_per_in": 1.0} | wrong
    with pytest.raises(SpecError, match="no price from"):
        token_price(values.pop("usd"), **values)  # type: ignore[arg-type]
