from __future__ import annotations

from collections import Counter

import pytest
import torch

from tradewind.engines import Sampling
from tradewind.engines.choice import choose


class TestChoose:
    LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0])

    def draws(self, sampling: Sampling, count: int = 3000) -> list[float]:
        generator = torch.Generator().manual_seed(4)
        seen = Counter(choose(self.LOGITS, sampling, generator) for _ in range(count))
        return [seen[token] / count for token in range(4)]

    def test_temperature_0_takes_the_likeliest(self) -> None:
        assert self.draws(Sampling(1, temperature=0), 50) == [0, 1, 0, 0]

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_draws_follow_the_tempered_chances(self, temperature: float) -> None:
        expected = torch.softmax(self.LOGITS / temperature, 0).tolist()
        assert self.draws(Sampling(1, temperature=temperature)) == pytest.approx(expected, abs=0.04)

    @pytest.mark.parametrize("temperature", [1e-3, 1e-40, 1e-310])
    def test_tiny_temperatures_are_as_good_as_0(self, temperature: float) -> None:
        assert self.draws(Sampling(1, temperature=temperature), 50) == [0, 1, 0, 0]

    def test_top_p_draws_from_the_smallest_set_with_that_weight(self) -> None:
        """The chances are 0.09, 0.66, 0.24 and 0.01."""
        assert self.draws(Sampling(1, top_p=0.6), 50) == [0, 1, 0, 0]
        assert self.draws(Sampling(1, top_p=0.7)) == pytest.approx([0, 0.731, 0.269, 0], abs=0.04)
        assert self.draws(Sampling(1, top_p=0.95))[3] == 0
        assert self.draws(Sampling(1, top_p=1.0))[3] > 0

    def test_smallest_top_p_leaves_the_likeliest(self) -> None:
        assert self.draws(Sampling(1, top_p=1e-9), 50) == [0, 1, 0, 0]

    def test_same_generator_draws_the_same(self) -> None:
        assert self.draws(Sampling(1), 50) == self.draws(Sampling(1), 50)

    def test_logits_are_left_as_they_were(self) -> None:
        before = self.LOGITS.clone()
        choose(self.LOGITS, Sampling(1, top_p=0.5), torch.Generator())
        assert torch.equal(before, self.LOGITS)
