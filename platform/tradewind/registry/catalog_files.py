"""What a workspace adds to the catalogue: price lists of later days, and overlays.

A price list is `catalog/snapshots/<day>/prices-<cloud>.csv`. It is never changed on a later day, so that the price of a
day can be told for ever. An overlay is the YAML that a person wrote, with its defaults, at
`catalog/overlays/<name>.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from tradewind.catalog import Catalog, Price, load_catalog
from tradewind.catalog.catalog import newest_lists
from tradewind.catalog.price_list import read_prices, write_prices
from tradewind.specs import CatalogSpec
from tradewind.specs.document import Document
from tradewind.specs.reference import check_name
from tradewind.storage import Store

SNAPSHOTS = "catalog/snapshots"
OVERLAYS = "catalog/overlays"


@dataclass(frozen=True)
class Snapshot:
    """A price list that was kept. `left_out` rows were of regions that the catalogue does not know."""

    day: date
    cloud: str
    key: str
    num_prices: int
    left_out: int


@dataclass(frozen=True)
class CatalogFiles:
    store: Store

    def load(self, *, at: date | None = None) -> Catalog:
        """The catalogue with what this workspace adds, as it was on a day. Raises IntegrityError for damaged files."""
        names = newest_lists(self.snapshots(), at).values()
        files = {name: self.store.get(f"{SNAPSHOTS}/{name}") for name in names}
        return load_catalog(files, overlays=list(self.overlays()), at=at)

    def snapshots(self) -> list[str]:
        """Names of the price lists, like `2026-12-01/prices-aws.csv`, the oldest first."""
        return sorted(item.key.removeprefix(f"{SNAPSHOTS}/") for item in self.store.list(SNAPSHOTS))

    def overlays(self) -> Iterator[CatalogSpec]:
        """In the order of their names. Raises SpecError for one that cannot be read."""
        for key in sorted(item.key for item in self.store.list(OVERLAYS)):
            text = self.store.get(key).decode("utf-8", errors="replace")
            yield CatalogSpec.from_document(Document.parse(text, name=f"{self.store.url}/{key}"))

    def apply(self, spec: CatalogSpec) -> Catalog:
        """Keep an overlay, in place of one of the same name. Returns the catalogue with it.

        Nothing is kept of one that does not fit: raises NotFoundError for unknown names, SpecError for contradictions.
        """
        others = [one for one in self.overlays() if one.name != spec.name]
        load_catalog(overlays=[*others, spec]).offers()
        self.store.put(f"{OVERLAYS}/{spec.name}.yaml", spec.to_yaml().encode())
        return self.load()

    def drop(self, name: str) -> None:
        """Remove an overlay. Raises NotFoundError."""
        key = f"{OVERLAYS}/{check_name(name)}.yaml"
        self.store.head(key)
        self.store.delete(key)

    def keep(self, cloud: str, prices: Sequence[Price], *, day: date) -> Snapshot:
        """Keep what a cloud answered as its price list of a day.

        Rows of regions and machine types that the answer does not name stay as they were, with their own days.
        """
        before = self.load()
        known = [price for price in prices if (cloud, price.region) in before.regions]
        rows = [*known, *_untouched(before, cloud, prices)]
        name = f"{day}/prices-{cloud}.csv"
        data = write_prices(rows)
        read_prices(data, name, regions=before.regions, instances=before.instances)
        self.store.put(f"{SNAPSHOTS}/{name}", data)
        return Snapshot(day, cloud, f"{SNAPSHOTS}/{name}", len(rows), len(prices) - len(known))


def _untouched(catalog: Catalog, cloud: str, answer: Iterable[Price]) -> Iterator[Price]:
    regions = {price.region for price in answer}
    instances = {price.instance for price in answer}
    for listed in catalog.price_lists:
        if listed.cloud == cloud:
            yield from (row for row in listed.prices if not (row.region in regions and row.instance in instances))
