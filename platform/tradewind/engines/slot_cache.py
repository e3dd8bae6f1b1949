"""Keys and values of many sequences of different lengths, a row for each, which the models of `transformers` read.

A row's tokens stand at their own positions from 0 on, and a mask hides what lies behind a sequence's end. So sequences
join and leave without a copy of what others hold: a new one is read into a free row, and where one leaves, the last row
moves into the hole. Rows in use are always the first ones, and a forward pass sees a view of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class Window:
    """The part of the cache that one forward pass reads and writes: `count` rows from `first` on."""

    first: int
    count: int
    positions: torch.Tensor
    """[count, tokens]: where the new keys and values go."""
    length: int
    """So many positions of each row are read."""


class SlotCache:
    """Rows for up to `rows` sequences, grown by doubling as they become longer and more."""

    def __init__(self, layers: int) -> None:
        self.window = Window(0, 0, torch.empty(0, 0, dtype=torch.long), 0)
        self._layers = [_SlotLayer(self) for _ in range(layers)]
        self.cache = Cache(layers=list(self._layers))
        self.rows = 0
        self.length = 0

    def open(self, first: int, positions: torch.Tensor) -> Window:
        """Make room for new tokens at those positions, and set the window of the next forward pass."""
        count, length = positions.shape[0], int(positions.max()) + 1
        self.rows = _grown(self.rows, first + count)
        self.length = _grown(self.length, length)
        self.window = Window(first, count, positions, length)
        return self.window

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first tokens of a row into another."""
        for layer in self._layers:
            layer.move(source, target, length)

    @property
    def bytes_per_token(self) -> int:
        """What all layers hold for one token of one row; known once a token was read."""
        held: list[torch.Tensor] = [tensor for layer in self._layers for tensor in layer.held()]
        return sum(int(one.shape[1] * one.shape[3]) * one.element_size() for one in held)


def _grown(size: int, wanted: int) -> int:
    return size if wanted <= size else max(wanted, 2 * size, 16)


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # an untyped library's
    """One layer's part of the cache: tensors [rows, heads, length, width]."""

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._owner = owner

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,  # noqa: ARG002 - the library's interface
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values [count, heads, tokens, width]; gives those of the whole window."""
        window = self._owner.window
        self.keys = keys = self._with_room(self.keys, key_states)
        self.values = values = self._with_room(self.values, value_states)
        rows = torch.arange(window.first, window.first + window.count, device=key_states.device)[:, None]
        keys[rows, :, window.positions] = key_states.transpose(1, 2)
        values[rows, :, window.positions] = value_states.transpose(1, 2)
        part = slice(window.first, window.first + window.count)
        return keys[part, :, : window.length], values[part, :, : window.length]

    def held(self) -> tuple[torch.Tensor, ...]:
        """Keys and values, once there are some."""
        return () if self.keys is None or self.values is None else (self.keys, self.values)

    def move(self, source: int, target: int, length: int) -> None:
        for tensor in self.held():
            tensor[target, :, :length] = tensor[source, :, :length]

    def _with_room(self, held: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        rows, length = self._owner.rows, self._owner.length
        if held is not None and held.shape[0] >= rows and held.shape[2] >= length:
            return held
        grown = new.new_zeros(rows, new.shape[1], length, new.shape[3])
        if held is not None:
            grown[: held.shape[0], :, : held.shape[2]] = held
        return grown

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: `update` makes room."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002
        return self._owner.window.length, 0

    def get_seq_length(self) -> int:
        return self._owner.window.length

    def get_max_length(self) -> int:
        return -1


def visible(window: Window, *, sliding: int | None = None) -> torch.Tensor:
    """[count, 1, tokens, length]: which positions each new token sees, itself and those before it in its row.

    With `sliding`, only that many of the newest.
    """
    behind = window.positions[:, None, :, None] - torch.arange(window.length, device=window.positions.device)
    seen = behind >= 0
    return seen & (behind < sliding) if sliding else seen


def padded(rows: Sequence[Sequence[int]], *, device: torch.device) -> torch.Tensor:
    """[rows, longest]: token ids, with zeros behind the shorter ones, which the mask hides from them."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
