"""The page: one HTML file that needs nothing else, neither network nor scripts, from a story."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from tradewind.records import Record
from tradewind.reports.chart import loss_curve
from tradewind.reports.lineage import lineage_of
from tradewind.reports.story import Story
from tradewind.reports.usage import usage_rows
from tradewind.units import format_bytes, format_count, format_seconds, format_usd


def render(story: Story) -> str:
    """The report as HTML. Texts of users are escaped; energy says on what it is based."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("tradewind.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("page.html").render(
        story=story,
        # Wide and narrow, of which the width of the screen shows one: a scaled picture has unreadable letters.
        curves={"wide": Markup(_curve(story, 920, 360)), "narrow": Markup(_curve(story, 360, 300))},  # noqa: S704
        links=lineage_of(story),
        ledger=usage_rows(story.usage),
        shape=_shape(story),
        specs=_specs(story),
    )


def format_loss(loss: float | None) -> str:
    return "—" if loss is None else f"{loss:.3f}"


def format_perplexity(loss: float | None) -> str:
    """Perplexity, the exponential of a loss in nats: `4.0` → `54.6`."""
    if loss is None:
        return "—"
    if not loss < 27:
        return "over 10¹¹"
    perplexity = math.exp(loss)
    return f"{perplexity:.1f}" if perplexity < 1000 else format_count(perplexity)


def format_energy(energy_wh: float) -> str:
    """`0.5` → `0.5 Wh`, `1234` → `1.23 kWh`."""
    return f"{energy_wh:.3g} Wh" if energy_wh < 999.5 else f"{format_count(energy_wh)}Wh"


def format_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


FILTERS = {
    "named": lambda files: [(file.key, file) for file in files],
    "bytes": format_bytes,
    "count": format_count,
    "energy": format_energy,
    "loss": format_loss,
    "perplexity": format_perplexity,
    "seconds": format_seconds,
    "time": format_time,
    "usd": format_usd,
}


def _curve(story: Story, width_px: int, height_px: int) -> str:
    return loss_curve(
        story.metrics, story.checkpoints, bigram_loss=story.bigram_loss, width_px=width_px, height_px=height_px
    )


def _shape(story: Story) -> str:
    """`hidden 128, layers 4, …, tied`, from the run's spec."""
    shape: dict[str, Any] = dict(story.start.spec.get("model") or {})
    shape.pop("family", None)
    words = {key.replace("_", " "): value for key, value in shape.items() if value is not None and value is not False}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in words.items())


def _specs(story: Story) -> dict[str, str]:
    """The specs behind the records as YAML, and the card as it was registered."""
    specs = {"Dataset spec": _yaml(story.dataset, "spec"), "Training spec": _yaml(story.start, "spec")}
    if story.endpoint:
        specs["Endpoint spec"] = _yaml(story.endpoint, "spec")
    if story.model and story.model.card:
        specs["Registered card"] = _yaml(story.model, "card")
    return specs


def _yaml(record: Record, field: str) -> str:
    import yaml

    values = record.model_dump(mode="json", include={field})[field]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
