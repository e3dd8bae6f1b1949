"""The shipped tables: chips, machine types and regions as they were on one day, in `data/`, with their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cache
from importlib import resources
from typing import Final, TypeVar, cast, get_args

from tradewind.catalog.chip import BITS, Chip, ChipKind, Precision
from tradewind.catalog.instance import Instance
from tradewind.catalog.region import Region
from tradewind.catalog.sheet import Row, read_sheet
from tradewind.errors import IntegrityError

T = TypeVar("T")
K = TypeVar("K", str, tuple[str, str])

SHIPPED: Final = date(2026, 11, 21)
"""The day of what comes with the package."""

RUNTIMES = ("cuda", "rocm", "xla", "neuron", "hpu", "cann", "cpu")
CLOUDS = ("aws", "gcp", "azure", "alibaba")
GIB, GB, TERA = 2**30, 10**9, 10**12

CHIP_COLUMNS = (
    "name", "vendor", "kind", "memory_gib", "fp32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops", "int8_tops",
    "memory_gb_per_s", "link", "link_gb_per_s", "power_w", "runtime", "supports", "price_usd", "price_source",
    "source", "note",
)  # fmt: skip
INSTANCE_COLUMNS = (
    "cloud", "name", "chip", "chips", "vcpus", "memory_gib", "local_disk_gb", "network_gbit_per_s", "rdma", "source",
    "note",
)  # fmt: skip
REGION_COLUMNS = (
    "cloud", "name", "title", "country", "latitude", "longitude", "carbon_g_per_kwh", "carbon_year", "carbon_source",
    "pue", "pue_source", "source",
)  # fmt: skip


@cache
def shipped_chips() -> Mapping[str, Chip]:
    """By name."""
    return _by_key(shipped_files("chips"), read_chips, lambda chip: chip.name)


@cache
def shipped_instances() -> Mapping[tuple[str, str], Instance]:
    """By cloud and name."""
    return _by_key(shipped_files("instances"), read_instances, lambda one: (one.cloud, one.name))


@cache
def shipped_regions() -> Mapping[tuple[str, str], Region]:
    """By cloud and name."""
    return _by_key(shipped_files("regions"), read_regions, lambda region: (region.cloud, region.name))


def shipped_files(table: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the files of a table: `prices.csv`, and `prices-….csv` for rows of another licence."""
    folder = resources.files("tradewind.catalog").joinpath("data", SHIPPED.isoformat())
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name == f"{table}.csv" or (file.name.startswith(f"{table}-") and file.name.endswith(".csv")):
            yield f"{SHIPPED}/{file.name}", file.read_bytes()


def read_chips(data: bytes, where: str) -> Iterator[Chip]:
    """Raises IntegrityError, as the two below."""
    for row in _each_once(read_sheet(data, where, CHIP_COLUMNS), "name"):
        yield Chip(
            name=row.word("name"),
            vendor=row.word("vendor"),
            kind=cast(ChipKind, row.one_of("kind", get_args(ChipKind))),
            memory_bytes=row.whole("memory_gib", GIB),
            flops=_flops(row),
            memory_bytes_per_s=row.scaled("memory_gb_per_s", GB),
            link=row.text("link"),
            link_bytes_per_s=row.scaled("link_gb_per_s", GB),
            power_w=row.number("power_w"),
            runtime=row.one_of("runtime", RUNTIMES),
            supports=frozenset(row.text("supports").split()),
            price_usd=row.number("price_usd"),
            source=row.word("source"),
            note=row.text("note"),
            price_source=row.text("price_source"),
        )


def read_instances(data: bytes, where: str) -> Iterator[Instance]:
    chips = shipped_chips()
    for row in _each_once(read_sheet(data, where, INSTANCE_COLUMNS), "cloud", "name"):
        chip = row.text("chip")
        yield Instance(
            cloud=row.one_of("cloud", CLOUDS),
            name=row.word("name"),
            chip=row.one_of("chip", chips) if chip else "",
            chips=_count(row) if chip else 0,
            vcpus=row.number("vcpus"),
            memory_bytes=row.whole("memory_gib", GIB),
            local_disk_bytes=row.whole("local_disk_gb", GB),
            network_bytes_per_s=row.scaled("network_gbit_per_s", GB / 8),
            rdma=row.text("rdma"),
            source=row.word("source"),
            note=row.text("note"),
        )


def read_regions(data: bytes, where: str) -> Iterator[Region]:
    for row in _each_once(read_sheet(data, where, REGION_COLUMNS), "cloud", "name"):
        yield Region(
            cloud=row.one_of("cloud", CLOUDS),
            name=row.word("name"),
            title=row.text("title"),
            country=row.text("country"),
            latitude=row.number("latitude", least=-90),
            longitude=row.number("longitude", least=-180),
            carbon_g_per_kwh=row.number("carbon_g_per_kwh"),
            carbon_year=row.text("carbon_year"),
            carbon_source=row.text("carbon_source"),
            pue=row.number("pue", least=1),
            pue_source=row.text("pue_source"),
            source=row.word("source"),
        )


def _by_key(
    files: Iterable[tuple[str, bytes]], read: Callable[[bytes, str], Iterator[T]], key_of: Callable[[T], K]
) -> dict[K, T]:
    found: dict[K, T] = {}
    for where, data in files:
        for one in read(data, where):
            key = key_of(one)
            if key in found:
                raise IntegrityError(f"{where}: {key if isinstance(key, str) else '/'.join(key)} is there twice")
            found[key] = one
    return found


def _each_once(rows: Iterable[Row], *columns: str) -> Iterator[Row]:
    seen = set[tuple[str, ...]]()
    for row in rows:
        key = tuple(row.text(column) for column in columns)
        if key in seen:
            raise row.wrong("name", f"a second row of {'/'.join(key)}")
        seen.add(key)
        yield row


def _flops(row: Row) -> dict[Precision, float]:
    columns = {precision: f"{precision}_{'tops' if precision == 'int8' else 'tflops'}" for precision in BITS}
    found = {precision: row.scaled(column, TERA) for precision, column in columns.items() if column in CHIP_COLUMNS}
    return {precision: flops for precision, flops in found.items() if flops is not None}


def _count(row: Row) -> int | None:
    count = row.number("chips", least=1)
    if count is not None and not count.is_integer():
        raise row.wrong("chips", f"{count:g} is not a whole number; leave out the count of a share")
    return None if count is None else int(count)
