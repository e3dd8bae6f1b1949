"""Which global batches divide over groups of chips that each read their own sequences."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from tradewind.errors import SpecError


@dataclass(frozen=True)
class Batch:
    """`sequences` in a step: `groups` each pass as many, in `passes` micro-batches."""

    sequences: int
    groups: int
    passes: int

    @property
    def micro_batch(self) -> int:
        return self.sequences // (self.groups * self.passes)

    def __str__(self) -> str:
        """`batch 400 = 100 groups × 4 passes × 1`."""
        return f"batch {self.sequences} = {self.groups} groups × {self.passes} passes × {self.micro_batch}"


def check_batch(sequences: int, groups: int, passes: int = 1) -> Batch:
    """The batch, if it divides. Raises SpecError with the nearest ones that do."""
    if sequences % (groups * passes) == 0 and sequences:
        return Batch(sequences, groups, passes)
    near = "; ".join(map(str, nearest_batches(sequences, groups, passes)))
    raise SpecError(
        f"a batch of {sequences} sequences does not divide over {groups} groups with {passes} passes each",
        hint=f"nearest: {near}",
    )


def nearest_batches(sequences: int, groups: int, passes: int = 1) -> list[Batch]:
    """Batches that divide and change one number each, as little as can be: the sequences, the passes or the groups.

    Of two sequence counts, the lower and the higher one are both given, where the lower is not 0.
    """
    unit = groups * passes
    found = [
        Batch(count, groups, passes) for count in (sequences // unit * unit, -(-sequences // unit) * unit) if count
    ]
    if sequences % groups == 0:
        found.append(Batch(sequences, groups, _nearest_divisor(sequences // groups, passes)))
    if sequences % passes == 0:
        found.append(Batch(sequences, _largest_divisor(sequences // passes, groups), passes))
    return found


@functools.cache
def divisors(number: int) -> tuple[int, ...]:
    """All of them, from 1 to the number."""
    small = [candidate for candidate in range(1, math.isqrt(number) + 1) if number % candidate == 0]
    return tuple(sorted({*small, *(number // candidate for candidate in small)}))


def _nearest_divisor(number: int, wanted: int) -> int:
    return min(divisors(number), key=lambda divisor: abs(math.log(divisor / wanted)))


def _largest_divisor(number: int, most: int) -> int:
    return max(divisor for divisor in divisors(number) if divisor <= most)
