from __future__ import annotations

import pytest
import torch

from tests.training.model.shapes import SHAPES, ours
from tradewind.training.model.attention import segments_of
from tradewind.training.model.rotary import restarting_positions

kinds = pytest.mark.parametrize("name", ["grouped", "qwen3", "deepseek v3, yarn", "qwen3 moe"])


def words(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(0, 50, (length,), generator=generator) for length in lengths]


@kinds
def test_each_document_in_a_row_has_the_logits_that_it_has_alone(name: str) -> None:
    model, parts = ours(SHAPES[name]), words(7, 1, 13, 10)
    documents = torch.cat([torch.full((len(part),), 5 * number) for number, part in enumerate(parts)])
    with torch.inference_mode():
        together = model(torch.cat(parts)[None], documents=documents[None].int())[0]
        alone = torch.cat([model(part[None])[0] for part in parts])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@kinds
def test_rows_of_a_batch_have_documents_of_their_own(name: str) -> None:
    model, (tokens,) = ours(SHAPES[name]), words(24)
    cuts = (6, 19)
    documents = torch.stack([(torch.arange(24) >= cut).int() for cut in cuts])
    with torch.inference_mode():
        together = model(tokens.expand(2, -1), documents=documents)
        for row, cut in enumerate(cuts):
            torch.testing.assert_close(together[row, cut:], model(tokens[None, cut:])[0], atol=1e-4, rtol=1e-4)


@kinds
def test_one_document_is_plain_causal(name: str) -> None:
    model, (tokens,) = ours(SHAPES[name]), words(20)
    with torch.inference_mode():
        masked = model(tokens[None], documents=torch.full((1, 20), 3))
        torch.testing.assert_close(masked, model(tokens[None]), atol=1e-4, rtol=1e-4)


def test_number_that_comes_again_is_another_document() -> None:
    documents = torch.tensor([[4, 4, 1, 1, 1, 4], [0, 1, 1, 0, 0, 0]])
    segments = segments_of(documents)
    assert segments.tolist() == [[0, 0, 1, 1, 1, 2], [0, 1, 1, 2, 2, 2]]
    assert restarting_positions(segments).tolist() == [[0, 1, 0, 1, 2, 0], [0, 0, 1, 0, 1, 2]]


def test_given_positions_are_those_of_the_tokens() -> None:
    model, (tokens,) = ours(SHAPES["grouped"]), words(20)
    with torch.inference_mode():
        plain = model(tokens[None])
        torch.testing.assert_close(model(tokens[None], positions=torch.arange(20)), plain)
        shifted = model(tokens[None], positions=torch.arange(20) + 1000)
        stretched = model(tokens[None], positions=torch.arange(20) * 3)
    torch.testing.assert_close(shifted, plain, atol=1e-3, rtol=1e-3)  # only distances matter
    assert not torch.allclose(stretched, plain, atol=1e-2)
