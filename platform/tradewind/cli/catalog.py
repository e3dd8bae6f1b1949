"""`tw offers` and `tw catalog`: what can be had where and at which price, and where the prices are from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradewind.cli.output import Json, Where, as_json, table
from tradewind.errors import SpecError
from tradewind.units import format_bytes, format_usd, parse_bytes

if TYPE_CHECKING:
    from tradewind.catalog import Catalog, Offer, Offers
    from tradewind.registry.catalog_files import CatalogFiles

app = typer.Typer(no_args_is_help=True, help="Prices and machine types: what is known, and from where.")

COLUMNS = ("machine", "place", "market", "chips", "chip memory", "memory", "$/h", "$/chip-h", "of on-demand", "price")
OLD = "*"


def offers(
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="A chip or a family, like H100-SXM, H100 or TPU-v5e.")
    ] = None,
    cloud: Annotated[str | None, typer.Option("--cloud", help="aws, gcp, azure, alibaba or onprem.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="A region, as the cloud calls it.")] = None,
    country: Annotated[str | None, typer.Option("--country", help="Two letters, like DE.")] = None,
    market: Annotated[
        Literal["on_demand", "spot", "reserved", "owned"] | None, typer.Option("--market", help="How it is paid.")
    ] = None,
    max_price: Annotated[float | None, typer.Option("--max-price", help="Dollars an hour for a machine.")] = None,
    max_price_per_chip: Annotated[
        float | None, typer.Option("--max-price-per-chip", help="Dollars an hour for a chip.")
    ] = None,
    min_chips: Annotated[int | None, typer.Option("--min-chips", min=0, help="Chips in one machine.")] = None,
    min_memory: Annotated[str | None, typer.Option("--min-memory", help="Memory of one chip, like 80GiB.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows at most.")] = 30,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """What can be had, cheapest first."""
    catalog = _catalog(workspace)
    found = catalog.offers(
        gpu=gpu,
        cloud=cloud,
        region=region,
        country=country,
        market=market,
        max_price=max_price,
        max_price_per_chip=max_price_per_chip,
        min_chips=min_chips,
        min_memory_bytes=_bytes("--min-memory", min_memory),
    )
    if json:
        as_json(found[:limit].rows())
    else:
        _show_offers(found, limit, _today())


@app.command()
def show(workspace: Where = None, json: Json = False) -> None:
    """The tables: of which day they are, how many rows they have, where they are from, and what is left out."""
    catalog = _catalog(workspace)
    rows = list(_tables(catalog))
    if json:
        as_json({"tables": rows, "offers": len(catalog.all_offers), "left_out": dict(catalog.left_out)})
        return
    columns = ("table", "day", "rows", "sources", "oldest", "file")
    table("catalogue", columns, [[row[column] for column in columns] for row in rows], empty="no tables")
    typer.echo(f"{len(catalog.all_offers)} offers; what the sources are, their licences and gaps: {_attribution()}")
    for reason, count in catalog.left_out.items():
        typer.echo(f"left out: {count} prices ({reason})")


@app.command()
def snapshots(workspace: Where = None, json: Json = False) -> None:
    """The price lists of this workspace, the oldest first; of each cloud the newest counts."""
    from tradewind.catalog.catalog import newest_lists, parse_list_name

    names = _files(workspace).snapshots()
    newest = set(newest_lists(names).values())
    rows = [
        {"day": day.isoformat(), "cloud": cloud, "file": name, "counts": name in newest}
        for name in names
        for day, cloud in [parse_list_name(name)]
    ]
    if json:
        as_json(rows)
        return
    cells = [(row["day"], row["cloud"], "yes" if row["counts"] else "", row["file"]) for row in rows]
    empty = "none; the prices are those that came with tradewind. `tw catalog refresh CLOUD` asks a cloud for its own"
    table("price lists", ("day", "cloud", "counts", "file"), cells, empty=empty)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file with `kind: catalog`.")],
    workspace: Where = None,
) -> None:
    """Keep discounts, reservations and machines of your own in this workspace, in place of those of the same name."""
    from tradewind.specs import CatalogSpec

    spec = CatalogSpec.load(file)
    catalog = _files(workspace).apply(spec)
    typer.echo(f"{spec.name}: {_said(spec.discounts, 'discount')}, {_said(spec.reservations, 'reservation')}, "
               f"{_said(spec.hardware, 'machine type')} of one's own; {len(catalog.all_offers)} offers")  # fmt: skip


@app.command()
def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An overlay.")],
    workspace: Where = None,
) -> None:
    """Remove an overlay."""
    _files(workspace).drop(name)
    typer.echo(f"{name} is removed")


@app.command()
def refresh(
    cloud: Annotated[str, typer.Argument(metavar="CLOUD", help="aws, gcp or azure.")],
    region: Annotated[list[str] | None, typer.Option("--region", help="Only this region; repeat for more.")] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Ask a cloud for its prices of today, and keep them as a price list of this workspace."""
    from tradewind.catalog.refresh import refresh as ask
    from tradewind.progress import track

    files, today = _files(workspace), _today()
    instances = files.load().instances.values()
    with track(f"prices of {cloud}") as bar:
        prices = ask(
            cloud,
            instances=instances,
            regions=region or (),
            today=today,
            on_progress=lambda line: bar.advance(note=line),
        )
        bar.note = f"{len(prices)} prices"
    kept = files.keep(cloud, prices, day=today)
    if json:
        as_json({"cloud": cloud, "day": today.isoformat(), "file": kept.key, "answered": len(prices),
                 "prices": kept.num_prices, "left_out": kept.left_out})  # fmt: skip
        return
    typer.echo(f"{cloud}: {len(prices)} prices of {today}; {kept.num_prices} in {kept.key}")
    if kept.left_out:
        typer.echo(f"left out: {kept.left_out} prices of regions that the catalogue does not know")


def _catalog(workspace: str | None) -> Catalog:
    return _files(workspace).load()


def _files(workspace: str | None) -> CatalogFiles:
    from tradewind.workspace import Workspace

    return Workspace(workspace).catalog_files


def _show_offers(found: Offers, limit: int, today: date) -> None:
    shown = found[:limit]
    table("offers, cheapest first", COLUMNS, [_row(offer, today) for offer in shown], empty="nothing is offered so")
    if len(found) > limit:
        typer.echo(f"{len(found) - limit} more; --limit shows them")
    old = [offer for offer in shown if offer.is_stale(today)]
    if old:
        from tradewind.catalog import STALE_DAYS
        from tradewind.catalog.refresh import PRICE_APIS

        clouds = sorted({offer.region.cloud for offer in old} & set(PRICE_APIS))
        how = f"; `tw catalog refresh {clouds[0]}` asks for those of today" if clouds else ""
        typer.echo(f"{OLD} {len(old)} of {len(shown)} prices are older than {STALE_DAYS} days, or of no known day{how}")


def _row(offer: Offer, today: date) -> tuple[object, ...]:
    cloud, *place = offer.place
    chip = offer.chip
    return (
        f"{cloud}/{offer.instance.name}", "/".join(part for part in place if part), offer.market.replace("_", "-"),
        f"{offer.chips}× {chip.name}" if chip else "–",
        format_bytes(chip.memory_bytes) if chip and chip.memory_bytes else "–",
        format_bytes(offer.instance.memory_bytes) if offer.instance.memory_bytes else "–",
        format_usd(offer.usd_per_hour),
        None if offer.usd_per_chip_hour is None else format_usd(offer.usd_per_chip_hour),
        _share(offer), _age(offer, today),
    )  # fmt: skip


def _share(offer: Offer) -> str | None:
    """What part of the price on demand is paid."""
    if offer.market == "on_demand" or not offer.on_demand_usd_per_hour:
        return None
    return f"{offer.usd_per_hour / offer.on_demand_usd_per_hour:.0%}"


def _age(offer: Offer, today: date) -> str:
    age = offer.age_days(today)
    words = "of no day" if age is None else "of today" if age <= 0 else f"{age} days"
    return f"{words} {OLD}" if offer.is_stale(today) else words


def _tables(catalog: Catalog) -> Iterable[dict[str, Any]]:
    from tradewind.catalog.storage_price import storage_prices
    from tradewind.catalog.tables import SHIPPED
    from tradewind.catalog.tco import tco_inputs
    from tradewind.catalog.transfer import transfer_lines

    for listed in catalog.price_lists:
        days = [price.as_of for price in listed.prices if price.as_of]
        yield _table(
            f"prices of {listed.cloud}", listed.day, listed.prices, listed.where, oldest=min(days, default=None)
        )
    whole: dict[str, Sequence[Any]] = {
        "chips": [*catalog.chips.values()],
        "instances": [*catalog.instances.values()],
        "regions": [*catalog.regions.values()],
        "transfer": [line.tariff for line in transfer_lines()],
        "storage": storage_prices(),
        "tco": tco_inputs(),
    }
    for name, rows in whole.items():
        yield _table(name, SHIPPED, rows, f"{SHIPPED}/{name}*.csv")


def _table(name: str, day: date, rows: Sequence[Any], file: str, *, oldest: date | None = None) -> dict[str, Any]:
    return {
        "table": name, "day": day.isoformat(), "rows": len(rows), "sources": len({row.source for row in rows}),
        "oldest": oldest.isoformat() if oldest else None, "file": file,
    }  # fmt: skip


def _attribution() -> str:
    from importlib import resources

    return str(resources.files("tradewind.catalog").joinpath("data", "ATTRIBUTION.md"))


def _said(some: Sequence[object], what: str) -> str:
    return f"{len(some)} {what}{'' if len(some) == 1 else 's'}"


def _today() -> date:
    return datetime.now(UTC).date()


def _bytes(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as exc:
        raise SpecError(f"{option}: {exc}") from exc
