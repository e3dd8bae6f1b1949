"""Context parallelism: each rank holds an early and a late part of every sequence, and sees the keys of all.

Keys and values are gathered before attention, as in Llama 3 (Grattafiori et al. 2024, section 3.3.2): few heads make
them small, and masks of documents need no bookkeeping. Rank r of c holds parts r and 2c-1-r of 2c, so that all have
equally many pairs to mix under a causal mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from tradewind.training.model.attention import Mask, Spread
from tradewind.training.parallel.collectives import gather

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


def positions_of(rank: int, ranks: int, tokens: int, device: torch.device) -> Tensor:
    """Which tokens of a sequence a rank holds, ascending. `tokens` is a multiple of 2 × ranks."""
    parts = torch.arange(tokens, device=device).chunk(2 * ranks)
    return torch.cat((parts[rank], parts[2 * ranks - 1 - rank])) if ranks > 1 else parts[0].new_tensor(range(tokens))


def spread_mask(segments: Tensor | None, mine: Tensor, tokens: int, group: ProcessGroup) -> Mask:
    """What my tokens, at positions `mine`, see of all keys, which attention gathers from `group`.

    `segments` [rows, tokens] are documents of the whole sequences; None where a token sees all before it.
    """
    seen = _blocks(segments, mine, tokens) if mine.is_cuda else _seen(segments, mine, tokens)
    return Spread(seen=seen, gather=lambda k, v: gather_keys(k, v, group))


def gather_keys(k: Tensor, v: Tensor, group: ProcessGroup) -> tuple[Tensor, Tensor]:
    """Keys and values [rows, heads, my tokens, width] to those of all tokens in their order, in one collective."""
    both = gather(torch.cat((k, v), dim=-1), 2, group)
    halves = both.chunk(2 * group.size(), dim=2)
    whole = torch.cat((*halves[::2], *reversed(halves[1::2])), dim=2)
    keys, values = whole.split((k.shape[-1], v.shape[-1]), dim=-1)  # type: ignore[no-untyped-call]
    return keys, values


def _seen(segments: Tensor | None, mine: Tensor, tokens: int) -> Tensor:
    seen = mine[:, None] >= torch.arange(tokens, device=mine.device)
    if segments is None:
        return seen
    return (seen & (segments[:, mine, None] == segments[:, None, :]))[:, None]


def _blocks(segments: Tensor | None, mine: Tensor, tokens: int) -> BlockMask:
    from torch.nn.attention.flex_attention import create_block_mask

    def before(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mine[query] >= key

    def within(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        assert segments is not None
        return before(batch, head, query, key) & (segments[batch, mine[query]] == segments[batch, key])

    rows = None if segments is None else segments.shape[0]
    seen = before if segments is None else within
    return create_block_mask(seen, rows, None, len(mine), tokens, device=mine.device)
