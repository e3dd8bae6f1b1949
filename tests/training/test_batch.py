"""Rows on their way into the model."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.datasets.chat import CONTEXT_BIT, END_BIT
from tradewind.training.batch import NOT_COUNTED, Pass, Passes

CPU = torch.device("cpu")
ROWS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def test_targets_are_the_tokens_behind() -> None:
    one = Passes(CPU).one(ROWS)
    assert one.tokens.tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]
    assert one.targets.tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    assert (one.documents, one.counted) == (None, 9)


@given(st.integers(1, 9), st.integers(1, 5))
def test_passes_hold_every_row_once_and_nothing_else_that_counts(rows: int, count: int) -> None:
    tokens = np.arange(rows * 3, dtype=np.uint16).reshape(rows, 3)
    made = Passes(CPU, count=count).of(tokens)
    assert len(made) == count
    counted = [
        row
        for one in made
        for row, targets in zip(one.tokens.tolist(), one.targets.tolist(), strict=True)
        if NOT_COUNTED not in targets
    ]
    assert counted == tokens[:, :-1].tolist()
    assert sum(one.counted for one in made) == rows * 2


def test_passes_of_one_size_are_filled_up() -> None:
    one = Passes(CPU, rows=5).one(ROWS)
    assert one.tokens.shape == (5, 3)
    assert one.targets[3:].tolist() == [[NOT_COUNTED] * 3] * 2
    assert one.counted == 9


def test_documents_are_numbered_in_each_row() -> None:
    rows = np.array([[5, 0, 7, 0, 9], [0, 1, 2, 3, 4]], dtype=np.uint16)
    one = Passes(CPU, end_of_text=0).one(rows)
    assert one.documents is not None
    assert one.documents.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]


def test_prompts_of_conversations_are_no_targets() -> None:
    rows = np.array([[1 | CONTEXT_BIT, 2 | CONTEXT_BIT, 3, 4 | END_BIT, 5 | CONTEXT_BIT]], dtype=np.uint32)
    one = Passes(CPU, conversations=True, end_of_text=0).one(rows)
    assert one.tokens.tolist() == [[1, 2, 3, 4]]
    assert one.targets.tolist() == [[NOT_COUNTED, 3, 4, NOT_COUNTED]]
    assert one.documents is not None
    assert one.documents.tolist() == [[0, 0, 0, 0]]


def test_some_rows_of_a_pass_are_a_pass() -> None:
    whole = Passes(CPU, end_of_text=0).one(ROWS)
    part: Pass = whole[1:2]
    assert part.tokens.tolist() == [[4, 5, 6]]
    assert part.documents is not None
    assert len(part.documents) == 1
