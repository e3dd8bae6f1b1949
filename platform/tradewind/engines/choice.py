"""The choice of the next token from a model's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.engines.engine import Sampling

if TYPE_CHECKING:
    import torch


def choose(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the likeliest at temperature 0, else a draw from the smallest set with `top_p` of the weight.

    Nucleus sampling after Holtzman et al. 2020, section 3.1. The draw is made on the processor.
    """
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits.double().cpu()
    scaled = (logits - logits.max()) / sampling.temperature  # no temperature is too small for that
    weights, tokens = torch.sort(torch.softmax(scaled, dim=-1), descending=True)
    before = weights.cumsum(dim=-1) - weights
    weights[before >= sampling.top_p] = 0.0
    return int(tokens[torch.multinomial(weights, 1, generator=generator)])


def generator(seed: int | None) -> torch.Generator:
    import torch

    made = torch.Generator()
    if seed is None:
        made.seed()
    else:
        made.manual_seed(seed)
    return made
