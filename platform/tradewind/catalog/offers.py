"""Offers as a sequence and as a table: cheapest first, light to iterate, shown by notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, overload

from tradewind.catalog.offer import Offer
from tradewind.errors import SpecError

SHOWN = 30
"""Rows that a notebook shows."""


class Offers(Sequence[Offer]):
    def __init__(self, offers: Iterable[Offer]) -> None:
        self._offers = tuple(offers)

    def __len__(self) -> int:
        return len(self._offers)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._offers)

    @overload
    def __getitem__(self, index: int) -> Offer: ...
    @overload
    def __getitem__(self, index: slice) -> Offers: ...
    def __getitem__(self, index: int | slice) -> Offer | Offers:
        return Offers(self._offers[index]) if isinstance(index, slice) else self._offers[index]

    def rows(self) -> list[dict[str, Any]]:
        """Each offer as plain data, with units in the names."""
        return [offer_row(offer) for offer in self._offers]

    def to_pandas(self) -> Any:
        """A DataFrame of `rows()`. Raises SpecError where pandas is not installed."""
        try:
            import pandas
        except ImportError as exc:
            raise SpecError("a table of offers as a DataFrame needs pandas", hint="pip install pandas") from exc
        return pandas.DataFrame(self.rows(), columns=list(COLUMNS))

    def __repr__(self) -> str:
        return f"<{len(self)} offers, cheapest first>"

    def _repr_html_(self) -> str:
        names = ("cloud", "region", "instance", "market", "chip", "chips", "usd_per_hour", "usd_per_chip_hour", "as_of")
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(row[name]))}</td>" for name in names) + "</tr>"
            for row in self[:SHOWN].rows()
        )
        more = f"<p>{len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


COLUMNS = (
    "id", "cloud", "region", "zone", "country", "instance", "market", "chip", "chips", "chip_memory_bytes", "vcpus",
    "memory_bytes", "usd_per_hour", "usd_per_chip_hour", "on_demand_usd_per_hour", "limit", "as_of", "source", "note",
)  # fmt: skip


def offer_row(offer: Offer) -> dict[str, Any]:
    """An offer as plain data that JSON can hold, in the order of `COLUMNS`."""
    cloud, region, zone = offer.place
    values = (
        offer.id, cloud, region, zone, offer.region.country, offer.instance.name, offer.market,
        offer.chip.name if offer.chip else "", offer.chips, offer.chip.memory_bytes if offer.chip else None,
        offer.instance.vcpus, offer.instance.memory_bytes, offer.usd_per_hour, offer.usd_per_chip_hour,
        offer.on_demand_usd_per_hour, offer.limit, offer.as_of.isoformat() if offer.as_of else None, offer.source,
        offer.note,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _shown(value: object) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
