"""What a price API is asked, and what it gives: all prices of some machine types, or an error.

Only Linux on shared hardware, without software that costs extra, on demand and on the spot market. A row's `as_of` is
the day it was asked for, since an API answers with what holds now; `source` names the API and the cloud's own date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Protocol

from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.errors import NotFoundError, SpecError, did_you_mean
from tradewind.plugins import Table


class PriceApi(Protocol):
    """The prices of one cloud. It gives all rows or raises; `say` takes a line for each step of a long way."""

    def __call__(
        self, instances: Sequence[Instance], *, regions: Sequence[str], today: date, say: Callable[[str], None]
    ) -> list[Price]:
        """Prices of these machine types in these regions, or in all that the cloud tells of when there are none.

        Raises AuthError for credentials that are missing or refused, SpecError for a library that is not installed,
        StorageError when the API does not answer, IntegrityError for an answer of another shape than it had.
        """


PRICE_APIS = Table(
    "cloud with a price API",
    {
        "aws": "tradewind.catalog.refresh.aws:aws_prices",
        "azure": "tradewind.catalog.refresh.azure:azure_prices",
        "gcp": "tradewind.catalog.refresh.gcp:gcp_prices",
    },
    group="price_apis",
)


def refresh(
    cloud: str,
    *,
    instances: Iterable[Instance],
    regions: Sequence[str] = (),
    today: date | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[Price]:
    """The cloud's own prices of today for those of the machine types that are its own, sorted by place and type.

    Nothing is kept of a refresh that fails half way. Raises NotFoundError for a cloud without a price API and for a
    region without any of these prices, SpecError without machine types, and what the cloud's `PriceApi` raises.
    """
    prices: PriceApi = PRICE_APIS[cloud]
    own = sorted({one.name: one for one in instances if one.cloud == cloud}.items())
    if not own:
        raise SpecError(f"no machine type of {cloud} to ask a price for", hint="name some that the catalogue knows")
    rows = prices(
        [one for _, one in own],
        regions=tuple(dict.fromkeys(regions)),
        today=today or datetime.now(UTC).date(),
        say=on_progress or _quiet,
    )
    _check_regions(cloud, rows, regions)
    return sorted(rows, key=lambda row: (row.region, row.zone, row.instance))


def _check_regions(cloud: str, rows: Sequence[Price], asked: Sequence[str]) -> None:
    known = {row.region for row in rows}
    for region in asked or known or ("any",):
        if region not in known:
            raise NotFoundError(
                f"{cloud} has no price of these machine types in region {region!r}{did_you_mean(region, known)}",
                hint="check the name of the region, or ask for other machine types",
            )


def _quiet(line: str) -> None:
    """Nobody listens."""
