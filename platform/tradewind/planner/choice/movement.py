"""What it costs to bring the data to the machines and the results home, and to keep both while the work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tradewind.catalog import Offer
from tradewind.catalog.storage_price import storage_prices
from tradewind.catalog.transfer import TransferTariff, transfer_tariff
from tradewind.families.sizes import parameters
from tradewind.planner.work import TrainingWork
from tradewind.records import LOCAL, UNKNOWN, Place

STATE_BYTES = 12
"""Of a checkpoint, for each parameter: a float32 weight and AdamW's two moments."""

WEIGHT_BYTES = 2
"""Of the finished model, for each parameter."""

KEPT = 2
"""Checkpoints that are kept at a time: the newest and the best."""

ON_PREMISES = Place(cloud="onprem", region="here")

GB = 10**9
MONTH_H = 730.0
"""8,760 hours over twelve months."""


@dataclass(frozen=True)
class Movement:
    """Bytes of a training run. Checkpoints go to `home` where that is in a cloud, else they stay with the machines."""

    work: TrainingWork
    home: Place

    def bytes_in(self) -> int:
        return self.work.dataset_bytes

    def bytes_home(self, hours: float) -> float:
        """The model, and what is saved on the way."""
        weights = parameters(self.work.shape)
        saved = hours * 3600 / self.work.checkpoint_every_s * STATE_BYTES if self.is_far else 0.0
        return weights * (WEIGHT_BYTES + saved)

    def bytes_kept(self) -> float:
        kept = 0 if self.is_far else KEPT * STATE_BYTES * parameters(self.work.shape)
        return self.work.dataset_bytes + kept

    @property
    def is_far(self) -> bool:
        """Whether the workspace is in a cloud, so that checkpoints go there."""
        return self.home not in (LOCAL, UNKNOWN)


class Tariffs:
    """The tariffs of many offers, those that are equal asked once."""

    def __init__(self, offers: Sequence[Offer], *, source: Place | None = None, target: Place | None = None) -> None:
        """From `source` to each offer, or from each offer to `target`."""
        numbers: dict[TransferTariff, int] = {}
        self.of_offer = np.empty(len(offers), dtype=np.intp)
        by_place: dict[tuple[str, str, str], int] = {}
        for index, offer in enumerate(offers):
            if offer.place not in by_place:
                here = _place(offer)
                tariff = transfer_tariff(_apart(source, here) or here, _apart(target, here) or here)
                by_place[offer.place] = numbers.setdefault(tariff, len(numbers))
            self.of_offer[index] = by_place[offer.place]
        self.distinct = tuple(numbers)

    def usd(self, num_bytes: float) -> NDArray[np.float64]:
        """What so many bytes cost, for each offer."""
        prices = np.array([tariff.usd(round(num_bytes)) for tariff in self.distinct])
        return prices[self.of_offer]


def _place(offer: Offer) -> Place:
    cloud, region, zone = offer.place
    return LOCAL if cloud == LOCAL.cloud else Place(cloud=cloud, region=region, zone=zone)


def _apart(end: Place | None, here: Place) -> Place | None:
    """A folder of this machine is far from every cloud, whatever it is for programs that run beside it."""
    return ON_PREMISES if end == LOCAL and here != LOCAL else end


@cache
def hot_usd_per_gb_month(cloud: str) -> float:
    """What a cloud takes for keeping a gigabyte at hand; the dearest of all where that is not known."""
    hot = {one.cloud: one.usd_per_gb_month for one in storage_prices() if one.tier == "hot"}
    known = [price for price in hot.values() if price is not None]
    price = hot.get(cloud)
    return 0.0 if cloud == "local" else max(known) if price is None else price
