"""A decoder-only transformer in plain torch, whose blocks are chosen by its shape.

It knows arithmetic, and nothing of data, devices or sharding. Parameter names are those of Hugging Face's classes, so
that weights travel both ways; tests hold its logits against `transformers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from tradewind.families import ModelShape
from tradewind.training.model.attention import Attention, Mask, document_mask, segments_of
from tradewind.training.model.experts import MixtureOfExperts
from tradewind.training.model.feed_forward import FeedForward
from tradewind.training.model.initialization import initialize
from tradewind.training.model.latent import LatentAttention
from tradewind.training.model.loss import linear_cross_entropy
from tradewind.training.model.rotary import cos_sin, restarting_positions


class Decoder(nn.Module):
    """Token ids [batch, time] to logits [batch, time, vocabulary].

    A stage of a pipeline is a decoder of which `model.embed_tokens`, `model.norm` or `lm_head` are None and some of
    `model.layers` are deleted: it takes hidden states for tokens where it has no embedding, and gives hidden states
    where it has no head.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Backbone(shape)
        self.lm_head: Head | None = Head(shape.hidden, shape.vocabulary, bias=False)
        if shape.tied:
            assert self.model.embed_tokens is not None
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, tokens: Tensor, *, documents: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """`documents` [batch, time] are numbers of which a run is a document: tokens see only their own document, and
        positions begin anew with each. `positions`, [time] or [batch, time], replace those that follow from it.
        """
        hidden = self.hidden_states(tokens, documents=documents, positions=positions)
        return hidden if self.lm_head is None else cast(Tensor, self.lm_head(hidden))

    def hidden_states(
        self, tokens: Tensor, *, documents: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """[batch, time, hidden], what the head multiplies. FSDP2 must be told of it: `register_fsdp_forward_method`."""
        return cast(Tensor, self.model(tokens, documents=documents, positions=positions))

    def loss(
        self,
        tokens: Tensor,
        targets: Tensor,
        *,
        mask: Tensor | None = None,
        documents: Tensor | None = None,
        positions: Tensor | None = None,
        z_loss: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """The summed loss of the targets in nats and how many there are, as `linear_cross_entropy` gives them.

        FSDP2 must be told of it: `register_fsdp_forward_method(model, "loss")`.
        """
        hidden = self.hidden_states(tokens, documents=documents, positions=positions)
        assert self.lm_head is not None
        return linear_cross_entropy(hidden, self.lm_head.weight, targets, mask=mask, z_loss=z_loss)

    def initialize(self, seed: int) -> None:
        """Draw the first weights in place, the same for every sharding. See `initialization.py`."""
        initialize(self, seed, layers=self.shape.layers)


class Head(nn.Linear):
    """The output matrix [vocabulary, hidden]."""

    def loss(self, hidden: Tensor, targets: Tensor, by: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """`by(hidden, weight, targets)`. What gathers weights only while a module computes sees here that it does."""
        return by(hidden, self.weight, targets)


class Backbone(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens: nn.Embedding | None = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleDict({str(number): Block(shape, number) for number in range(shape.layers)})
        self.norm: nn.RMSNorm | None = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)

    def forward(self, tokens: Tensor, *, documents: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        cos, sin, mask = self.surroundings(tokens, documents, positions)
        x = tokens if self.embed_tokens is None else self.embed_tokens(tokens)
        for layer in self.layers.values():
            x = layer(x, cos, sin, mask)
        return x if self.norm is None else cast(Tensor, self.norm(x))

    def surroundings(
        self, tokens: Tensor, documents: Tensor | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Mask]:
        """What all blocks share: rotary tables and the mask."""
        mask: Mask = None
        if documents is not None:
            segments = segments_of(documents)
            mask = document_mask(segments)
            positions = restarting_positions(segments) if positions is None else positions
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        return *cos_sin(self.shape, positions), mask


class Block(nn.Module):
    def __init__(self, shape: ModelShape, number: int) -> None:
        super().__init__()
        routed = shape.experts is not None and number >= shape.experts.dense_layers
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)
        self.self_attn = LatentAttention(shape) if shape.latent else Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)
        self.mlp = MixtureOfExperts(shape) if routed else FeedForward(shape.hidden, shape.ffn)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return cast(Tensor, x + self.mlp(self.post_attention_layernorm(x)))
