"""What every peer's reading is checked with: that the check sees what is lost, repeated and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import tokens
from benchmarks.peers.case import _check, _Seen

SMALL = 256


@pytest.fixture
def sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tokens.Tokens:
    for module in ("benchmarks.tokens", "benchmarks.peers.case"):
        monkeypatch.setattr(f"{module}.SEQUENCES", SMALL)
    monkeypatch.setattr(tokens, "PER_SHARD", 96)
    tokens.make_tokens(tmp_path / "tokens.bin")
    return tokens.open_tokens(tmp_path / "tokens.bin")


def seen(sequences: tokens.Tokens, order: np.ndarray) -> _Seen:
    read = _Seen()
    for part in np.array_split(order, 8):
        read.add(torch.from_numpy(sequences[part].astype(np.int64)))
    return read


def test_whole_epoch_is_right(sequences: tokens.Tokens) -> None:
    found = _check(seen(sequences, np.random.default_rng(0).permutation(SMALL)), [])
    assert (found["missing"], found["repeated"], found["damaged"]) == (0, 0, 0)
    assert found["shuffle"] == pytest.approx(1, abs=0.2)


def test_lost_repeated_and_damaged_sequences_are_counted(sequences: tokens.Tokens) -> None:
    altered = np.array(sequences)
    altered[7, -1] += 1
    altered[8, :2] = 0xFFFF
    found = _check(seen(altered, np.array([*range(SMALL - 3), 0, 1])), [])
    assert (found["missing"], found["repeated"], found["damaged"]) == (5, 2, 2)
    assert found["shuffle"] < 0.1


def test_resumed_reading_is_checked_together_with_what_was_read_before(sequences: tokens.Tokens) -> None:
    found = _check(seen(sequences, np.arange(100, SMALL)), [np.arange(90)])
    assert (found["missing"], found["repeated"]) == (10, 0)


def test_shards_hold_all_sequences_in_order(sequences: tokens.Tokens) -> None:
    assert [len(shard) for shard in tokens.shards(sequences)] == [96, 96, 64]
    assert sequences[:, 0].tolist() == list(range(SMALL))
