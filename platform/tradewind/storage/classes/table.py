"""Tiers of storage: hot, warm, cold and archive, what each cloud calls them, and what they cost there.

The prices are those of `tradewind.catalog.storage_price`, each with its source and date: list prices of one region,
without requests, taxes and discounts. A price that has no source is None and stays unknown: nothing is reckoned
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal, Protocol, cast, get_args, runtime_checkable

from tradewind.catalog.storage_price import GB as GB
from tradewind.catalog.storage_price import StoragePrice, storage_prices
from tradewind.errors import SpecError, did_you_mean
from tradewind.plugins import Table
from tradewind.storage import s3
from tradewind.storage.store import Store

Tier = Literal["hot", "warm", "cold", "archive"]
TIERS: tuple[Tier, ...] = get_args(Tier)
"""The hottest first."""

Cloud = Literal["s3", "gcs", "azure"]
CLOUDS: Mapping[str, Cloud] = {"s3": "s3", "gs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
"""The cloud behind each scheme of a store's URL."""

IN_CATALOG: Mapping[Cloud, str] = {"s3": "aws", "gcs": "gcp", "azure": "azure"}
"""What the catalogue calls it."""

MARK = "tradewind-tier"
"""The tag or metadata that a moved object carries, so that a rule of the bucket can tell it from the others."""

CLASS_STORES = Table(
    "store with storage classes",
    {
        "s3": "tradewind.storage.classes.s3:S3Classes",
        "gcs": "tradewind.storage.classes.gs:GcsClasses",
        "azure": "tradewind.storage.classes.az:AzureClasses",
    },
    group="storage_classes",
)


@dataclass(frozen=True)
class StorageClass:
    """A class and its prices. `restore_hours` is set where an object cannot be read before it was restored."""

    cloud: Cloud
    tier: Tier
    name: str
    region: str
    usd_per_gb_month: float | None
    retrieval_usd_per_gb: float | None
    minimum_days: int
    minimum_bytes: int
    restore_hours: float | None
    as_of: str
    source: str
    note: str

    def unknown(self) -> list[str]:
        """What has no price, in words."""
        prices = {"storage": self.usd_per_gb_month, "retrieval": self.retrieval_usd_per_gb}
        return [f"{what} price of {self.cloud} {self.name}" for what, price in prices.items() if price is None]


@dataclass(frozen=True)
class StoredClass:
    """An object as a listing of the cloud shows it. `since` is when it came into its class."""

    key: str
    num_bytes: int
    name: str
    since: datetime | None = None


RestoreState = Literal["archived", "restoring", "ready"]


@runtime_checkable
class ClassStore(Protocol):
    """What a cloud does with the classes of objects that a `Store` has there. Keys are those of the store.

    All of it may raise AuthError and StorageError. It may be called from several threads.
    """

    def list(self, prefix: str) -> Iterator[StoredClass]:
        """The objects below a folder-like prefix with their classes."""

    def check(self, key: str, name: str) -> None:
        """Write and remove a small object of this class. Raises SpecError where there is no such class."""

    def move(self, key: str, name: str, *, tier: Tier) -> None:
        """Bring an object into a class and mark it with the tier. It can be read all the while."""

    def restore(self, key: str, *, days: int) -> None:
        """Have an archived object made readable, in hours; once asked, asking again changes nothing."""

    def state(self, key: str) -> RestoreState:
        """Whether an object of a class that must be restored can be read by now."""


@cache
def classes(cloud: Cloud) -> Mapping[Tier, StorageClass]:
    """The class of each tier of a cloud. Raises SpecError for a cloud that is not known."""
    if cloud not in get_args(Cloud):
        raise SpecError(f"no cloud named {cloud!r}{did_you_mean(cloud, get_args(Cloud))}")
    rows = (price for price in storage_prices() if price.cloud == IN_CATALOG[cloud])
    return {row.tier: row for row in (_class(cloud, price) for price in rows)}


def tier_of(cloud: Cloud, name: str) -> Tier | None:
    """The tier of a class of this cloud; None for one that is not among ours, such as INTELLIGENT_TIERING."""
    return next((tier for tier, one in classes(cloud).items() if one.name == name), None)


def cloud_of(store: Store) -> Cloud:
    """The cloud that a store is on. Raises SpecError for a store that has no classes."""
    scheme = store.url.partition(":")[0]
    if scheme not in CLOUDS:
        raise SpecError(
            f"{store.url} has no storage classes: a {scheme} store keeps all objects alike",
            hint="tiers are for s3://, gs:// and az://; --cloud s3 shows what they would cost there",
        )
    return CLOUDS[scheme]


def class_store(store: Store) -> ClassStore:
    """The classes of a store's objects. Raises SpecError where there are none, or where the extra is not installed."""
    open_classes: Callable[[str], ClassStore] = CLASS_STORES[cloud_of(store)]
    return open_classes(store.url)


class MissingExtraError(SpecError):
    """The library of a cloud is not installed here."""


def must_be_restored(cloud: Cloud) -> bool:
    """Whether what is in this cloud's archive is read only after a restore."""
    return classes(cloud)["archive"].restore_hours is not None


def missing_extra(library: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"storage classes need {library}", hint=f"pip install 'tradewind[{extra}]'")


def price_note(cloud: Cloud) -> str | None:
    """A sentence where the prices are not those of the server that is used."""
    host = s3.other_host() if cloud == "s3" else None
    return f"the prices are Amazon's, and the bucket is at {host}" if host else None


def unknown_prices(some: Iterable[StorageClass]) -> list[str]:
    return [words for one in some for words in one.unknown()]


def _class(cloud: Cloud, price: StoragePrice) -> StorageClass:
    return StorageClass(**{**vars(price), "cloud": cloud, "tier": cast(Tier, price.tier)})
