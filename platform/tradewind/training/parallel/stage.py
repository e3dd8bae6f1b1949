"""A decoder, or the stage of a pipeline that is one, as a rank of a layout runs it: on its part of every sequence."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tradewind.families import ModelShape
from tradewind.training.model import Decoder, linear_cross_entropy
from tradewind.training.model.attention import Mask, document_mask, segments_of
from tradewind.training.model.rotary import cos_sin, restarting_positions
from tradewind.training.parallel.context import positions_of, spread_mask
from tradewind.training.parallel.mesh import Mesh
from tradewind.training.parallel.tensor import gather_tokens
from tradewind.training.parallel.vocabulary import split_cross_entropy


class Stage(nn.Module):
    """Tokens, or what the stage before gives, to hidden states; and hidden states of the last stage to a loss."""

    def __init__(self, decoder: Decoder, mesh: Mesh, *, z_loss: float = 0.0) -> None:
        super().__init__()
        self.decoder = decoder
        self.mesh = mesh
        self.z_loss = z_loss

    def forward(self, x: Tensor, documents: Tensor | None = None) -> Tensor:
        """My tokens [rows, time], or hidden states of them; `documents` are those of the whole sequences."""
        decoder = self.decoder.model
        is_first = decoder.embed_tokens is not None
        cos, sin, mask = self.surroundings(x.shape[1] * (1 if is_first else self.mesh.layout.tensor), documents)
        if decoder.embed_tokens is not None:
            x = decoder.embed_tokens(x)
        for layer in decoder.layers.values():
            x = layer(x, cos, sin, mask)
        return x if decoder.norm is None else cast(Tensor, decoder.norm(x))

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The summed loss of my tokens in nats, float32. Ranks of one tensor group all give that of all its tokens."""
        head = self.decoder.lm_head
        assert head is not None
        if self.mesh.layout.tensor > 1:
            hidden = gather_tokens(hidden, self.mesh.weights["tensor"])
        return head.loss(hidden, targets, self._cross_entropy)

    def _cross_entropy(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        if self.mesh.layout.tensor == 1:
            return linear_cross_entropy(hidden, weight, targets, z_loss=self.z_loss)[0]
        return split_cross_entropy(hidden, weight, targets, self.mesh.weights["tensor"], z_loss=self.z_loss)

    def surroundings(self, time: int, documents: Tensor | None) -> tuple[Tensor, Tensor, Mask]:
        """Rotary tables and mask of my tokens, `time` of each sequence, which all blocks share."""
        layout = self.mesh.layout
        tokens = time * layout.context
        mine = positions_of(self.mesh.context_rank, layout.context, tokens, self.mesh.device)
        segments = None if documents is None else segments_of(documents)
        positions = mine if segments is None else restarting_positions(segments)[:, mine]
        if self.mesh.context_group is not None:
            mask = spread_mask(segments, mine, tokens, self.mesh.context_group)
        else:
            mask = None if segments is None else document_mask(segments)
        return *cos_sin(self.decoder.shape, positions), mask


def part_of_decoder(shape: ModelShape, layers: range) -> Decoder:
    """Those layers of a decoder, on the meta device, with embedding before the first and head after the last."""
    with torch.device("meta"):
        decoder = Decoder(shape)
    for number in set(range(shape.layers)) - set(layers):
        del decoder.model.layers[str(number)]
    if 0 not in layers:
        decoder.model.embed_tokens = None
    if shape.layers - 1 not in layers:
        decoder.model.norm = decoder.lm_head = None
    return decoder
