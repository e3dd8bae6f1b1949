from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.logbook import Pretended
from tradewind.datasets.reading.batches import Batches, Draws
from tradewind.datasets.reading.certificate import Certificate, digests
from tradewind.errors import IntegrityError, SpecError

rows = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda rows: sum(rows) > 2)
BITS = 60 * 8


def pretend(*sources: list[int], sequences: int = 4, seed: int = 0, lanes: int = 1, **how: object) -> Batches:
    return Batches(
        [Pretended(rows) for rows in sources or ([9, 8, 7],)],
        sequences=sequences,
        seed=seed,
        lanes=lanes,
        **how,  # type: ignore[arg-type]
    )


def proof(made: Batches, steps: int) -> list[bytes]:
    """The chain at each step of a run that nothing disturbs, with one reader."""
    certificate, chains = Certificate.start(made), []
    for step in range(steps):
        certificate.add(made.sequences, digests(made.draws(range(step, step + 1)))[0])
        chains.append(certificate.chain)
    return chains


def chain_of(made: Batches, steps: list[Draws]) -> bytes:
    certificate = Certificate.start(made)
    for draws in steps:
        certificate.add(draws.row.shape[1], digests(draws)[0])
    return certificate.chain


@dataclass
class Training:
    """A run that is killed now and then and goes on from what it saved last, with another number of readers."""

    made: Batches
    dice: random.Random
    saved: bytes = b""
    kept: list[tuple[int, int, int]] = field(default_factory=list)
    """Position, source and sample of what was consumed and is in a checkpoint."""

    def live(self, until: int, expected: list[bytes]) -> None:
        """Start, read some steps with some readers and workers, save now and then, and be killed."""
        made, world = self.made, self.dice.randint(1, 9)
        certificate = Certificate.from_bytes(self.saved, made) if self.saved else Certificate.start(made)
        every, first = self.dice.randint(1, 4), certificate.samples // made.sequences
        unsaved: list[tuple[int, int, int]] = []
        for step in range(first, min(until, first + self.dice.randint(0, 12))):
            parts = [made.draws(range(step, step + 1), rank=rank, world=world) for rank in range(world)]
            self.dice.shuffle(parts)  # who is ready first does not matter
            certificate.add(
                sum(part.row.shape[1] for part in parts), np.sum([digests(part)[0] for part in parts], axis=0)
            )
            for part in parts:
                unsaved += zip(part.position[0].tolist(), part.source[0].tolist(), part.sample[0].tolist(), strict=True)
            if step % every == 0 or step == until - 1:
                assert certificate.chain == expected[step]
                self.saved, self.kept, unsaved = certificate.to_bytes(), self.kept + unsaved, []

    @property
    def steps(self) -> int:
        return Certificate.from_bytes(self.saved, self.made).samples // self.made.sequences if self.saved else 0


@given(rows, st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=60)
def test_run_that_is_killed_and_resized_has_read_each_sample_exactly_once_in_each_epoch(
    rows: list[int], sequences: int, lanes: int, seed: int, luck: int
) -> None:
    made = pretend(rows, sequences=sequences, lanes=lanes, seed=seed)
    until = -(-2 * made.size // sequences)
    expected, training = proof(made, until), Training(made, random.Random(luck))
    while training.steps < until:
        training.live(until, expected)
    positions, _, consumed = zip(*sorted(training.kept), strict=True)
    assert positions == tuple(range(until * sequences))
    for epoch in range(2):
        assert sorted(consumed[epoch * made.size : (epoch + 1) * made.size]) == list(range(made.size))
    assert Certificate.from_bytes(training.saved, made).chain == expected[-1]


@given(rows, rows, st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=40)
def test_run_over_a_mixture_has_read_each_sample_of_each_source_exactly_once(
    first: list[int], second: list[int], seed: int, luck: int
) -> None:
    """In as many samples as both sources have epochs of together, with the batches cut to fit."""
    weights = [sum(first), sum(second)]
    made = pretend(first, second, sequences=sum(weights), seed=seed, weights=weights)
    expected, training = proof(made, 6), Training(made, random.Random(luck))
    while training.steps < 6:
        training.live(6, expected)
    counts = Counter((source, sample) for _, source, sample in training.kept)
    assert counts == Counter(
        {(number, sample): 6 for number, source in enumerate(made.sources) for sample in range(source.size)}
    )


@given(rows, st.integers(1, 64), st.integers(1, 40), st.integers(1, 5))
@settings(max_examples=50)
def test_digests_of_all_readers_add_up_to_that_of_one(rows: list[int], world: int, sequences: int, lanes: int) -> None:
    made, steps = pretend(rows, rows, sequences=sequences, lanes=lanes), range(3, 6)
    parts = [digests(made.draws(steps, rank=rank, world=world)) for rank in range(world)]
    assert np.array_equal(np.sum(parts, axis=0), digests(made.draws(steps)))
    assert digests(made.draws(steps)).dtype == np.uint64


def without(draws: Draws, column: int) -> Draws:
    return Draws(*(np.delete(getattr(draws, part.name), column, axis=1) for part in fields(draws)))


def repeated(draws: Draws, column: int) -> Draws:
    columns = [*range(draws.row.shape[1]), column]
    return Draws(*(getattr(draws, part.name)[:, columns] for part in fields(draws)))


def in_place_of(draws: Draws, column: int, other: int) -> Draws:
    """One sample twice, another not at all: the number of rows stays."""
    columns = [other if at == column else at for at in range(draws.row.shape[1])]
    return Draws(*(getattr(draws, part.name)[:, columns] for part in fields(draws)))


@given(rows, st.integers(2, 8), st.integers(0, 2**31), st.data())
@settings(max_examples=60)
def test_an_omission_or_a_repetition_changes_the_chain(
    rows: list[int], sequences: int, seed: int, data: st.DataObject
) -> None:
    made = pretend(rows, sequences=sequences, seed=seed)
    steps = [made.draws(range(step, step + 1)) for step in range(5)]
    at, column = data.draw(st.integers(0, 4)), data.draw(st.integers(0, sequences - 1))
    right = chain_of(made, steps)
    for wrong in (
        without(steps[at], column),
        repeated(steps[at], column),
        in_place_of(steps[at], column, (column + 1) % sequences),
    ):
        assert chain_of(made, [*steps[:at], wrong, *steps[at + 1 :]]) != right
    assert chain_of(made, [*steps[:at], *steps[at + 1 :]]) != right
    assert chain_of(made, [*steps[:at], steps[at], *steps[at:]]) != right


@given(rows, st.integers(1, 8), st.integers(0, 2**31), st.data())
@settings(max_examples=60)
def test_samples_swapped_between_steps_change_the_chain(
    rows: list[int], sequences: int, seed: int, data: st.DataObject
) -> None:
    made = pretend(rows, sequences=sequences, seed=seed)
    steps = [made.draws(range(step, step + 1)) for step in range(4)]
    one, other = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True))
    column = data.draw(st.integers(0, sequences - 1))
    swapped = [replace(draws, sample=draws.sample.copy()) for draws in steps]
    swapped[one].sample[0, column], swapped[other].sample[0, column] = (
        steps[other].sample[0, column],
        steps[one].sample[0, column],
    )
    is_same = steps[one].sample[0, column] == steps[other].sample[0, column]
    assert (chain_of(made, swapped) == chain_of(made, steps)) == is_same
    exchanged = list(steps)
    exchanged[one], exchanged[other] = exchanged[other], exchanged[one]
    assert chain_of(made, exchanged) != chain_of(made, steps)


def test_two_samples_swapped_within_a_step_change_its_digest() -> None:
    draws = pretend([50]).draws(range(1))
    swapped = replace(draws, sample=draws.sample[:, [1, 0, 2, 3]])
    assert not np.array_equal(digests(swapped), digests(draws))


def test_who_has_read_which_row_of_a_step_does_not_matter() -> None:
    draws = pretend([50]).draws(range(1))
    turned = Draws(*(getattr(draws, part.name)[:, ::-1] for part in fields(draws)))
    assert np.array_equal(digests(turned), digests(draws))


def test_the_same_sample_of_another_source_changes_the_digest() -> None:
    draws = pretend([50], [50]).draws(range(1))
    assert not np.array_equal(digests(replace(draws, source=1 - draws.source)), digests(draws))


def test_seeds_and_orders_have_chains_of_their_own() -> None:
    made = [
        pretend(seed=seed, lanes=lanes, window=window) for seed in range(3) for lanes in (1, 2) for window in (1, 2)
    ]
    assert len({proof(one, 1)[0] for one in made}) == 12
    assert len({Certificate.start(one).chain for one in made}) == 12


def test_words_of_samples_that_are_near_each_other_do_not_cancel() -> None:
    """Sums of pairs of neighbouring positions and samples are all distinct, as sums of random words are."""
    made = pretend([100_000], sequences=50_000)
    draws = made.draws(range(1))
    singles = replace(draws, **{part.name: getattr(draws, part.name).T for part in fields(draws)})
    words = digests(singles)
    assert len(np.unique(words[:, 0])) == len(np.unique(words[:, 1])) == 50_000
    sums = words[:, None, 0] + words[None, :200, 0]
    pairs = np.triu_indices(200, 1)
    assert len(np.unique(sums[:200][pairs])) == len(pairs[0])
    ones = np.unpackbits(words.view(np.uint8).reshape(len(words), -1), axis=1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(len(words))


def test_sixty_bytes_say_it_all() -> None:
    made = pretend()
    certificate = Certificate.start(made)
    certificate.add(4, digests(made.draws(range(1)))[0])
    data = certificate.to_bytes()
    assert len(data) == 60
    assert Certificate.from_bytes(data, made) == certificate
    assert certificate.samples == 4


def test_certificate_is_the_same_in_every_release() -> None:
    assert proof(pretend([3, 5, 4, 2], seed=7), 3)[-1].hex() == GOLDEN


GOLDEN = "f7cfd5e82a79219aaf2633b9de8f664a21faf39430a56e674a69f3774d52a291"

OTHERS: dict[str, Callable[[], Batches]] = {
    "seed": lambda: pretend(seed=1),
    "batch": lambda: pretend(sequences=8),
    "lanes": lambda: pretend(lanes=2),
    "window": lambda: pretend(window=2),
    "dataset": lambda: pretend([9, 8, 8]),
    "mixture": lambda: pretend([9, 8, 7], [4]),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_state_of_another_order_is_refused(other: Callable[[], Batches]) -> None:
    with pytest.raises(SpecError, match="saved with another dataset version, seed, batch, window, lanes") as caught:
        Certificate.from_bytes(Certificate.start(other()).to_bytes(), pretend())
    assert "number of readers alone may differ" in str(caught.value.hint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"x" + data[1:],
        lambda data: bytes(60),
    ],
    ids=["empty", "cut", "longer", "magic", "zeros"],
)
def test_other_bytes_are_refused(damage: Callable[[bytes], bytes]) -> None:
    made = pretend()
    with pytest.raises(IntegrityError, match="not the state of a reader"):
        Certificate.from_bytes(damage(Certificate.start(made).to_bytes()), made)


def test_a_bit_that_flips_is_refused_or_seen_at_the_next_step() -> None:
    made = pretend()
    expected, start = proof(made, 1)[0], Certificate.start(made)
    for bit in range(BITS):
        data = bytearray(start.to_bytes())
        data[bit // 8] ^= 1 << bit % 8
        try:
            certificate = Certificate.from_bytes(bytes(data), made)
        except (IntegrityError, SpecError):
            continue
        certificate.add(4, digests(made.draws(range(1)))[0])
        assert (certificate.samples, certificate.chain) != (4, expected)
