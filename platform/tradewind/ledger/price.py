"""What a million tokens cost to serve, from everything that the endpoint's machines cost in the same time.

A machine costs the same whether it answers or waits, so the price of a token is inverse to how much the machine is
used. Tokens that are read and tokens that are made take different time, and share the cost accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.errors import SpecError

MILLION = 1e6


@dataclass(frozen=True)
class TokenPrice:
    """Dollars of a million tokens; None where there were none."""

    usd: float
    """Of the whole window."""
    tokens_in: int
    tokens_out: int
    usd_per_million_in: float | None
    usd_per_million_out: float | None


def window_usd(
    *, node_usd_per_hour: float, nodes: float, hours: float, egress_usd: float = 0.0, idle_usd: float = 0.0
) -> float:
    """What serving cost in a window: its nodes, the bytes that left, and its share of machines that stood by."""
    return node_usd_per_hour * nodes * hours + egress_usd + idle_usd


def token_price(usd: float, *, tokens_in: int, tokens_out: int, out_per_in: float) -> TokenPrice:
    """The price of the tokens that were served for `usd` in the same window.

    A token that is made takes `out_per_in` times the device time of one that is read: on a given machine, its measured
    tokens/s of prefill over those of decoding. Raises SpecError for what cannot be.
    """
    if not (usd >= 0 and tokens_in >= 0 and tokens_out >= 0 and 0 < out_per_in < float("inf")):
        raise SpecError(
            f"no price from ${usd}, {tokens_in} tokens in, {tokens_out} out, weight {out_per_in}",
            hint="dollars and tokens are at least 0, the weight of an output token is above 0",
        )
    units = tokens_in + out_per_in * tokens_out
    unit_usd = usd / units * MILLION if units else 0.0
    return TokenPrice(
        usd, tokens_in, tokens_out, unit_usd if tokens_in else None, unit_usd * out_per_in if tokens_out else None
    )
