"""Rows of tokens on their way into the model: what is read, what is predicted, where documents end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat import split
from tradewind.datasets.reading.samples import boundaries

NOT_COUNTED = -100
"""A target that no loss is taken of; what torch's cross-entropy ignores."""


@dataclass(frozen=True)
class Pass:
    """Sequences that are computed at once, [sequences, time] each."""

    tokens: Tensor
    targets: Tensor
    """The token behind each, or `NOT_COUNTED`."""
    documents: Tensor | None
    """Number of each token's document in its row; None where a token sees the whole row before it."""


@dataclass(frozen=True)
class Passes:
    """How a worker cuts its rows into passes: all workers make the same number, whatever their rows are."""

    device: torch.device
    count: int
    end_of_text: int | None = None
    """Set where documents are kept apart."""
    conversations: bool = False
    """Whether tokens say by a bit that they are not trained on."""

    def of(self, rows: Tokens) -> list[Pass]:
        """The passes of rows [rows, time + 1]. One without rows gets a row of which nothing counts."""
        whole = self.one(rows)
        bounds = [len(rows) * number // self.count for number in range(self.count + 1)]
        return [_part(whole, start, stop) for start, stop in itertools.pairwise(bounds)]

    def one(self, rows: Tokens) -> Pass:
        """All rows in one pass."""
        ids, trained = split(rows) if self.conversations else (rows, None)
        tokens = torch.from_numpy(ids).to(self.device, torch.int64, non_blocking=True)
        targets = tokens[:, 1:]
        if trained is not None:
            counted = torch.from_numpy(trained[:, 1:]).to(self.device)
            targets = targets.masked_fill(~counted, NOT_COUNTED)
        documents = None
        if self.end_of_text is not None:
            documents = torch.from_numpy(boundaries(ids[:, :-1], end_of_text=self.end_of_text)).to(self.device)
        return Pass(tokens[:, :-1], targets, documents)


def passes_needed(*, sequences: int, readers: int, at_once: int | None) -> int:
    """How many passes a step takes, for the worker with the most rows of a batch."""
    most = -(-sequences // readers)
    return -(-most // (at_once or most))


def counted(passes: list[Pass]) -> int:
    """Targets that a loss is taken of."""
    return sum(int((one.targets != NOT_COUNTED).sum()) for one in passes)


def _part(whole: Pass, start: int, stop: int) -> Pass:
    if start == stop:
        return Pass(whole.tokens[:1], torch.full_like(whole.targets[:1], NOT_COUNTED), _rows(whole.documents, 0, 1))
    return Pass(whole.tokens[start:stop], whole.targets[start:stop], _rows(whole.documents, start, stop))


def _rows(documents: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if documents is None else documents[start:stop]
