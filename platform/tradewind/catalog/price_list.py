"""Price lists as CSV: how a snapshot of one cloud is kept, and read back strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tradewind.catalog.price import Price
from tradewind.catalog.sheet import Row, read_sheet, write_sheet
from tradewind.errors import IntegrityError, did_you_mean

COLUMNS = (
    "cloud", "region", "zone", "instance", "on_demand_usd_per_hour", "spot_usd_per_hour", "as_of", "currency",
    "native_on_demand_per_hour", "source", "note",
)  # fmt: skip

Names = Mapping[tuple[str, str], object]
"""What is known, by cloud and name."""


def read_prices(
    data: bytes, where: str, *, regions: Names | None = None, instances: Names | None = None
) -> list[Price]:
    """The prices of a file, with the regions and machine types that they name checked against those given.

    Raises IntegrityError that names line and column: no number, a negative one, a name that is not known, a row twice,
    dollars beside another currency.
    """
    prices, seen = [], set[tuple[str, str, str, str]]()
    for row in read_sheet(data, where, COLUMNS):
        price = _price(row)
        key = (price.cloud, price.region, price.zone, price.instance)
        if key in seen:
            raise row.wrong("instance", f"a second price of {'/'.join(filter(None, key))}")
        seen.add(key)
        if regions is not None and key[:2] not in regions:
            raise _not_known(row, "region", regions)
        if instances is not None and (price.cloud, price.instance) not in instances:
            raise _not_known(row, "instance", instances)
        prices.append(price)
    return prices


def write_prices(rows: Iterable[Price]) -> bytes:
    """A file that `read_prices` reads back, in the order of cloud, region, zone and machine type."""
    ordered = sorted(rows, key=lambda row: (row.cloud, row.region, row.zone, row.instance))
    return write_sheet(COLUMNS, [[getattr(row, column) for column in COLUMNS] for row in ordered])


def _price(row: Row) -> Price:
    price = Price(
        cloud=row.word("cloud"),
        region=row.word("region"),
        zone=row.text("zone"),
        instance=row.word("instance"),
        on_demand_usd_per_hour=row.number("on_demand_usd_per_hour"),
        spot_usd_per_hour=row.number("spot_usd_per_hour"),
        as_of=row.day("as_of"),
        source=row.word("source"),
        currency=row.word("currency"),
        native_on_demand_per_hour=row.number("native_on_demand_per_hour"),
        note=row.text("note"),
    )
    _check_currency(row, price)
    return price


def _check_currency(row: Row, price: Price) -> None:
    if price.currency == "USD":
        if price.native_on_demand_per_hour is not None:
            raise row.wrong("native_on_demand_per_hour", "a price in dollars has no other amount")
        return
    for column in ("on_demand_usd_per_hour", "spot_usd_per_hour"):
        if getattr(price, column) is not None:
            raise row.wrong(column, f"dollars in a row of {price.currency}: a row has one currency")


def _not_known(row: Row, column: str, known: Names) -> IntegrityError:
    cloud, name = row.text("cloud"), row.text(column)
    clouds = {of for of, _ in known}
    if cloud not in clouds:
        return row.wrong("cloud", f"no cloud named {cloud!r}{did_you_mean(cloud, clouds)}")
    names = [one for of, one in known if of == cloud]
    what = {"region": "region", "instance": "machine type"}[column]
    return row.wrong(column, f"{cloud} has no {what} named {name!r}{did_you_mean(name, names)}")
