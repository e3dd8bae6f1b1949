"""Rows of tokens on their way into the model: what is read, what is predicted, where documents end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tradewind.datasets.blocks import Tokens
from tradewind.datasets.chat import split
from tradewind.datasets.reading.samples import boundaries
from tradewind.training.data import TrainingData
from tradewind.training.job import Job, passes_needed
from tradewind.training.parallel.layout import Layout

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

    @property
    def counted(self) -> int:
        """Targets that a loss is taken of."""
        return int((self.targets != NOT_COUNTED).sum())

    def __getitem__(self, rows: slice) -> Pass:
        return Pass(self.tokens[rows], self.targets[rows], None if self.documents is None else self.documents[rows])


@dataclass(frozen=True)
class Passes:
    """How a worker cuts its rows into passes: all workers make the same number, whatever their rows are."""

    device: torch.device
    count: int = 1
    rows: int | None = None
    """Rows of each pass where all must have the same; what is missing is filled up with rows that do not count."""
    end_of_text: int | None = None
    """Set where documents are kept apart."""
    conversations: bool = False
    """Whether tokens say by marks that they are not trained on."""

    def of(self, rows: Tokens) -> list[Pass]:
        """The passes of rows [rows, time + 1]. One without rows gets a row of which nothing counts."""
        bounds = [len(rows) * number // self.count for number in range(self.count + 1)]
        return [self.one(rows[start:stop], like=rows) for start, stop in itertools.pairwise(bounds)]

    def one(self, rows: Tokens, *, like: Tokens | None = None) -> Pass:
        """All rows in one pass. `like` has rows to take where there is none."""
        wanted = self.rows or max(1, len(rows))
        spare = rows if len(rows) else like
        assert spare is not None
        filled = np.concatenate([rows, *[spare[:1]] * (wanted - len(rows))]) if len(rows) < wanted else rows
        made = self._pass(filled)
        made.targets[len(rows) :] = NOT_COUNTED
        return made

    def _pass(self, rows: Tokens) -> Pass:
        ids, trained = split(rows) if self.conversations else (rows, None)
        tokens = torch.from_numpy(ids).to(self.device, torch.int64, non_blocking=True)
        targets = tokens[:, 1:].clone()  # a view of one row is contiguous, and would share memory with the tokens
        if trained is not None:
            targets[torch.from_numpy(~trained[:, 1:]).to(self.device)] = NOT_COUNTED
        documents = None
        if self.end_of_text is not None:
            documents = torch.from_numpy(boundaries(rows[:, :-1], end_of_text=self.end_of_text)).to(self.device)
        return Pass(tokens[:, :-1].contiguous(), targets, documents)


def passes_of(job: Job, data: TrainingData, layout: Layout, device: torch.device) -> Passes:
    """How each rank cuts its rows. A pipeline cuts them itself, into parts of one size."""
    batch = job.spec.batch
    return Passes(
        device,
        count=1
        if layout.pipeline > 1
        else passes_needed(sequences=batch.sequences, readers=layout.data_world, at_once=batch.sequences_per_pass),
        rows=-(-batch.sequences // layout.data_world) if layout.pipeline > 1 else None,
        end_of_text=data.end_of_text if separates(job, data) else None,
        conversations=data.conversations,
    )


def separates(job: Job, data: TrainingData) -> bool:
    """Whether a token sees its own document alone."""
    wish = job.spec.batch.separate_documents
    return data.conversations if wish is None else wish
