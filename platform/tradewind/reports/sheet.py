"""A page of tables and pictures that stands alone, for answers that are no journey: plans, comparisons, estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FILE = "sheet.html"


@dataclass(frozen=True)
class Part:
    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    charts: Sequence[str] = ()
    """Each one <svg>, as `draw` makes them; everything else is text, and escaped."""
    notes: Sequence[str] = ()

    def is_number(self, column: int) -> bool:
        """Whether a column stands on the right."""
        cells = [row[column] for row in self.rows if row[column]]
        return bool(cells) and all(cell.lstrip("-−+$~")[:1].isdigit() or cell == "–" for cell in cells)


@dataclass(frozen=True)
class Sheet:
    title: str
    kicker: str
    """A line above the title: what kind of page it is, and of when."""
    headline: str
    """The answer in a sentence."""
    tiles: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[Part] = ()


def render_sheet(sheet: Sheet) -> str:
    """The page as HTML, which needs neither network nor scripts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("tradewind.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = Markup
    return environment.get_template(FILE).render(sheet=sheet)
