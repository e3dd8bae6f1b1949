"""Estimates put right by what was measured, with an interval that holds as often as it says.

How far estimates are off, as a logarithm of measured over predicted, is taken as a smooth function of hardware and
work: what is off on a chip is off there for all work, and most alike for similar work (Gaussian process regression,
Rasmussen and Williams 2006, section 2.2). So the nearest measurements count most, and far from all of them an estimate
stays as it was, with the width of the prior. Widths are then scaled until they cover what was measured, each left out
in its turn: conformal prediction with the spread as its scale (Vovk et al. 2005; Lei et al. 2018, section 5.2), where
the measurements are enough for its finite-sample quantile.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog.chip import Chip
from tradewind.errors import IntegrityError
from tradewind.families import ModelShape
from tradewind.families.family import Experts, Latent
from tradewind.families.rope import RopeScaling
from tradewind.families.sizes import parameters
from tradewind.planner.layout import Layout, ServingSetup, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.work import ServingWork, TrainingWork
from tradewind.records import Measured, Measurement

Basis = Literal["measured", "interpolated", "estimated"]
"""`measured`: similar work ran on the same chip. `interpolated`: other work ran there, or work on similar chips.
`estimated`: neither."""

COVERAGE = 0.9
NORMAL_QUANTILE = 1.645
"""Of the normal distribution, for `COVERAGE` on both sides: what widths are scaled by at least, before there are enough
measurements for a quantile of theirs. The largest of theirs counts where it is larger."""

CHIP_SPREAD = 0.15
"""Standard deviation of what a chip gets wrong, as a logarithm. An assumption, for chips that nobody has measured."""

PROCESSOR_SPREAD = 0.5
"""The same of processors, whose peaks are guessed from their number: 90 % within a factor of 2.3. An assumption."""

WORK_SPREAD, NOISE = 0.04, 0.02
"""The same of what one kind of work gets wrong on a known chip, and of one run from the next. The 26 training steps
measured on one and two H200 deviate by 0.025 together."""

NEAR_CHIP = 0.6
"""How alike chips of equal peak and bandwidth are that have different names, for one software. An assumption."""

LIKE_CHIP = 0.4
"""How alike chips must be to interpolate between them: that is H100 and H200, not A100 and H100."""

MOST = 400
"""Measurements that are used, the newest: the work grows with their cube."""

OTHER_KIND = 0.5
"""How alike work stays that differs in precision, in recomputation, or in the axes of its layout: each once."""

_SCALES = np.array([1.5, 1.5, 2.0, 1.0])
"""In which features count as near: a factor of 4.5 in weights and in tokens of a sequence, 7 in tokens at a time on a
chip, 2.7 in chips."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that should hold it nine times of ten."""

    low: float
    value: float
    high: float
    basis: Basis


@dataclass(frozen=True)
class Query:
    """Hardware and work, as far as similar ones behave alike."""

    work: Measured
    chip: str
    place: tuple[str, float, float] | None
    """Software, logarithms of peak and bandwidth; None where the chip is known by name alone."""
    sizes: tuple[float, float, float, float]
    """Logarithms of weights, tokens of a sequence, tokens of a chip at a time, and chips."""
    precision: str
    recompute: str
    axes: str
    """By which the model is split, and whether over machines."""

    @classmethod
    def of_training(cls, work: TrainingWork, setup: TrainingSetup, node: Node, nodes: int) -> Query:
        weights, layout = _parameters(work.shape), setup.layout
        sizes = _sizes(weights, work.tokens_per_sequence, setup.sequences, layout.chips)
        return cls("training", node.chip.name, _place(node.chip), sizes, work.precision, setup.recompute,
                   _axes(layout, nodes))  # fmt: skip

    @classmethod
    def of_serving(cls, work: ServingWork, setup: ServingSetup, node: Node) -> Query:
        weights, layout = _parameters(work.shape), setup.layout
        sequences = layout.replicate * setup.sequences
        sizes = _sizes(weights, work.tokens_in + work.tokens_out, sequences, layout.chips)
        nodes = -(-layout.chips // (layout.replicate * node.chips))
        return cls("serving", node.chip.name, _place(node.chip), sizes, work.weights, "none", _axes(layout, nodes))

    @classmethod
    def of_measurement(cls, seen: Measurement, chip: Chip | None = None) -> Query:
        """Raises IntegrityError for a record whose shape or layout is not one."""
        try:
            layout, weights = Layout(**seen.layout), parameters(shape_of(seen.shape))
            sizes = _sizes(weights, seen.tokens_per_sequence, seen.sequences, layout.chips)
        except (KeyError, TypeError, ValueError) as exc:
            raise IntegrityError(
                f"{seen.id} does not say what was measured: {exc}", hint="delete it, or measure again"
            ) from exc
        place = _place(chip) if chip else None
        return cls(seen.work, seen.chip, place, sizes, seen.precision, seen.recompute, _axes(layout, seen.nodes))


class Corrector:
    """Knows measurements that say what was predicted for them; others cannot be compared, and are left out.

    `chips` gives the figures of measured chips, so that similar ones learn from them too. Raises IntegrityError for a
    measurement that cannot be read.
    """

    def __init__(self, measurements: Sequence[Measurement], *, chips: Mapping[str, Chip] | None = None) -> None:
        usable = sorted((one for one in measurements if one.predicted_tokens_per_s), key=lambda one: one.created_at)
        usable = usable[-MOST:]
        self._codes: dict[str, int] = {}
        queries = [Query.of_measurement(one, (chips or {}).get(one.chip)) for one in usable]
        self._seen: Array = np.array([_row(query, self._codes) for query in queries], dtype=float)
        self._errors = np.array([math.log(one.tokens_per_s / (one.predicted_tokens_per_s or 1)) for one in usable])
        self._learn()

    def estimate(self, query: Query, predicted: float) -> Estimate:
        """What `predicted` becomes, and within which bounds, in its own unit."""
        guess = PROCESSOR_SPREAD if query.place and query.place[0] == "cpu" else _prior_spread()
        if not len(self._errors):
            return _interval(predicted, 0.0, guess, NORMAL_QUANTILE, "estimated")
        chips, works = _likeness(np.array([_row(query, self._codes)]), self._seen)
        covariance = _covariance(chips, works)[0]
        error = float(covariance @ self._weights)
        variance = _prior_spread() ** 2 - float(covariance @ self._inverse @ covariance)
        basis = _basis(chips[0], works[0])
        if basis == "estimated":
            variance = max(variance, guess**2)
        return _interval(predicted, error, math.sqrt(max(variance, NOISE**2)), self._quantiles[basis], basis)

    def _learn(self) -> None:
        self._quantiles: dict[Basis, float] = {}
        if not len(self._errors):
            return
        chips, works = _likeness(self._seen, self._seen)
        noisy = _covariance(chips, works) + NOISE**2 * np.eye(len(self._errors))
        self._inverse: Array = np.asarray(np.linalg.inv(noisy), dtype=np.float64)
        self._weights: Array = self._inverse @ self._errors
        # Each left out in its turn, without fitting anew: Rasmussen and Williams 2006, equation 5.12.
        scores: Array = np.abs(self._weights) / np.sqrt(np.diag(self._inverse))
        np.fill_diagonal(chips, 0.0)
        bases = [_basis(chip, work) for chip, work in zip(chips, works, strict=True)]
        for basis in ("measured", "interpolated", "estimated"):
            own: Array = scores[np.array([one == basis for one in bases])]
            self._quantiles[basis] = _quantile(own) or _quantile(scores) or max(NORMAL_QUANTILE, float(scores.max()))


def shape_of(values: Mapping[str, Any]) -> ModelShape:
    """A shape from plain data; keys that this program does not know are ignored."""
    known = {field.name for field in dataclasses.fields(ModelShape)}
    given = {key: value for key, value in values.items() if key in known}
    for key, kind in (("latent", Latent), ("experts", Experts), ("rope_scaling", RopeScaling)):
        if isinstance(given.get(key), Mapping):
            given[key] = kind(**given[key])
    return ModelShape(**given)


@lru_cache(maxsize=256)
def _parameters(shape: ModelShape) -> int:
    return parameters(shape)


def _place(chip: Chip) -> tuple[str, float, float] | None:
    peak = chip.flops.get("bf16") or chip.flops.get("fp16") or chip.flops.get("fp32")
    if not peak or not chip.memory_bytes_per_s:
        return None
    return chip.runtime, math.log(peak), math.log(chip.memory_bytes_per_s)


def _sizes(weights: int, length: int, sequences: int, chips: int) -> tuple[float, float, float, float]:
    return math.log(weights), math.log(length), math.log(length * sequences / chips), math.log(chips)


def _axes(layout: Layout, nodes: int) -> str:
    names = [name for name in ("expert", "context", "tensor", "pipeline") if getattr(layout, name) > 1]
    names += ["data"] if layout.replicate * layout.shard > 1 else []
    return " ".join(names + (["network"] if nodes > 1 else []))


def _row(query: Query, codes: dict[str, int]) -> tuple[float, ...]:
    """A query as numbers: words by their codes, of which new ones are made. Training and serving share no words."""
    software, peak, bandwidth = query.place or (query.chip, math.nan, math.nan)
    words = (query.chip, software, query.precision, query.recompute, query.axes)
    numbers = (codes.setdefault(f"{query.work} {word}", len(codes)) for word in words)
    return *numbers, peak, bandwidth, *query.sizes


_CHIP, _SOFTWARE, _KIND, _PLACE, _SIZES = 0, 1, slice(2, 5), slice(5, 7), slice(7, 11)


def _likeness(some: Array, others: Array) -> tuple[Array, Array]:
    """How alike chips are, and how alike work is, from 0 to 1, of each row of `some` with each of `others`."""
    one, other = some[:, None], others[None]
    apart = np.abs(one[..., _PLACE] - other[..., _PLACE]).sum(axis=-1)
    near = np.where(np.isnan(apart), 0.0, NEAR_CHIP * np.exp(-apart))
    chips = np.where(one[..., _SOFTWARE] == other[..., _SOFTWARE], near, 0.0)
    chips = np.where(one[..., _CHIP] == other[..., _CHIP], 1.0, chips)
    far = (((one[..., _SIZES] - other[..., _SIZES]) / _SCALES) ** 2).sum(axis=-1)
    unlike = (one[..., _KIND] != other[..., _KIND]).sum(axis=-1)
    return chips, OTHER_KIND**unlike * np.exp(-0.5 * far)


def _covariance(chips: Array, works: Array) -> Array:
    return chips * (CHIP_SPREAD**2 + WORK_SPREAD**2 * works)


def _prior_spread() -> float:
    return math.sqrt(CHIP_SPREAD**2 + WORK_SPREAD**2 + NOISE**2)


def _basis(chips: Array, works: Array) -> Basis:
    """By the likeness to each measurement."""
    if ((chips == 1.0) & (works >= math.exp(-0.5))).any():
        return "measured"
    return "interpolated" if (chips >= LIKE_CHIP).any() else "estimated"


def _quantile(scores: Array) -> float | None:
    """The ⌈(n + 1) · coverage⌉-th smallest score; None where there are too few for one."""
    rank = math.ceil((len(scores) + 1) * COVERAGE)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def _interval(predicted: float, error: float, spread: float, quantile: float, basis: Basis) -> Estimate:
    value = predicted * math.exp(error)
    return Estimate(value * math.exp(-quantile * spread), value, value * math.exp(quantile * spread), basis)
