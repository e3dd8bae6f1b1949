"""The table of a sweep: the best so far, dollars, the price, rungs and trials, live in a terminal or in a notebook.

`facts` and `rows` say it in words; the rest draws them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from tradewind.records import SweepGuarded, TrialStatus
from tradewind.tuning.standing import Rung, Standing, TrialStanding, changed_keys
from tradewind.units import format_seconds, format_usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

ROWS = 12
REDRAW_S = 0.5
WIDTH_OF_FILES = 160
STYLES = {"running": "cyan", "finished": "green", "pruned": "dim", "failed": "red"}
BAR = 24
STATUSES: tuple[TrialStatus, ...] = ("running", "finished", "pruned", "failed")


def facts(standing: Standing, *, bars: bool = True) -> dict[str, str]:
    """Names and what to say of a sweep under each, the best first; dollars and prices with bars of letters."""
    price = standing.newest("price")
    found = {
        "best": _best(standing),
        "trials": _trials(standing),
        "spent": (_spent_bar(standing) if bars else "") + _sums(standing),
        "price": (_price_bar(price) if bars else "") + _price(price),
        "rungs": " · ".join(_rung(one) for one in standing.rungs),
        "budget": _budget(standing.newest("budget")),
        "interruptions": _interruptions(standing),
        "status": _status(standing),
    }
    return {name: text for name, text in found.items() if text}


def columns(standing: Standing) -> list[str]:
    keys = [shorten(key) for key in changed_keys(standing.trials)]
    return [
        "trial",
        "status",
        "step",
        objective_words(standing),
        *keys,
        "cost",
        "machine time",
        *_lost_column(standing),
    ]


def rows(standing: Standing, *, most: int | None = ROWS) -> list[list[str]]:
    """The trials, best first, as cells of `columns`; of more than `most` those at work are shown all the same."""
    ranked = standing.ranked
    shown = ranked if most is None else ranked[:most] + [one for one in ranked[most:] if one.status == "running"]
    keys = changed_keys(standing.trials)
    return [_row(standing, one, keys) for one in shown]


def rich_table(standing: Standing, *, most: int | None = ROWS) -> RenderableType:
    """For a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Table(box=None, show_header=False, pad_edge=False, title=standing.name, title_justify="left")
    head.title_style = "bold"
    for name, text in facts(standing).items():
        head.add_row(Text(name, style="dim"), Text(text, style="bold" if name == "best" else ""))
    body = Table(box=None, pad_edge=False, header_style="bold")
    body.padding = (0, 1, 0, 0)
    cells = rows(standing, most=most)
    for index, column in enumerate(columns(standing)):
        numeric = all(row[index][:1].isdigit() or row[index][:1] in "$–-" for row in cells)
        body.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in cells:
        body.add_row(*(Text(cell, style=STYLES[row[1]]) for cell in row))
    hidden = len(standing.trials) - len(cells)
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(head, Text(), body, *more)


def html_table(standing: Standing, *, most: int | None = ROWS) -> str:
    """The same for a notebook: two tables, every text escaped."""
    head = "".join(
        f"<tr><th style='text-align:left;white-space:nowrap'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in facts(standing).items()
    )
    names = "".join(f"<th>{escape(name)}</th>" for name in columns(standing))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(standing, most=most)
    )
    title = f"<caption style='text-align:left'><b>{escape(f'sweep {standing.name}')}</b></caption>"
    return f"<table>{title}{head}</table><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def line(standing: Standing) -> str:
    """One line, for logs."""
    return f"trials {_trials(standing)}; {_sums(standing)}; best {_best(standing)}"


@contextmanager
def screen() -> Iterator[Callable[[Standing], object]]:
    """What to call with how a sweep stands, as often as one likes: it is drawn where it is, or said in lines for a log.

    A terminal and a notebook have the table; what the terminal showed is gone when the block ends.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        yield _calm(_notebook())
    elif console.is_terminal:
        from rich.live import Live

        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield _calm(lambda found: live.update(rich_table(found), refresh=True))
    else:
        yield _lines(console)


def show(standing: Standing, *, most: int | None = None) -> None:
    """Print it once, on standard output."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = max(WIDTH_OF_FILES, console.width)
    console.print(rich_table(standing, most=most))


def objective_words(standing: Standing) -> str:
    """`heldout_loss` → `held-out loss`."""
    return standing.spec.objective.replace("heldout", "held-out").replace("_", " ")


def shorten(key: str) -> str:
    """`optimizer.learning_rate` → `learning rate`."""
    return key.rpartition(".")[2].replace("_", " ")


def format_value(value: Any) -> str:
    """`0.0012345` → `0.00123`, `[0.9, 0.95]` → `0.9, 0.95`."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(format_value(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_value(one)}" for name, one in value.items())
    return "–" if value is None else str(value)


def _calm(draw: Callable[[Standing], object]) -> Callable[[Standing], object]:
    """Draw what has changed, and not more often than an eye follows."""
    shown: tuple[float, Any] = (0.0, None)

    def look(found: Standing) -> None:
        nonlocal shown
        moment, now = (found.as_of, found.status), time.monotonic()
        if moment != shown[1] and (now - shown[0] >= REDRAW_S or found.status != "running"):
            shown = (now, moment)
            draw(found)

    return look


def _notebook() -> Callable[[Standing], object]:
    from IPython import display as shown

    handle = shown.DisplayHandle()  # type: ignore[no-untyped-call]
    handle.display(shown.HTML("<p>starting</p>"))  # type: ignore[no-untyped-call]
    return lambda found: handle.update(shown.HTML(html_table(found)))  # type: ignore[no-untyped-call]


def _lines(console: Console) -> Callable[[Standing], object]:
    said: tuple[str, ...] = ()

    def say(found: Standing) -> None:
        nonlocal said
        news = (_trials(found), _best(found), found.status)
        if found.trials and news != said:
            said = news
            console.print(line(found), markup=False, highlight=False, soft_wrap=True)

    return say


def _row(standing: Standing, trial: TrialStanding, keys: Iterable[str]) -> list[str]:
    objective = standing.objective(trial)
    return [
        str(trial.number),
        trial.status,
        str(trial.step) if trial.step else "–",
        "–" if objective is None else f"{objective:.4f}",
        *(format_value(trial.values.get(key)) for key in keys),
        format_usd(trial.usd),
        format_seconds(trial.machine_s) if trial.machine_s else "–",
        *([_lost(trial)] if _lost_column(standing) else []),
    ]


def _lost_column(standing: Standing) -> list[str]:
    return ["lost"] if standing.preempted else []


def _lost(trial: TrialStanding) -> str:
    if not trial.preempted:
        return "–"
    return f"{trial.preempted}×, {trial.redone_steps} steps"


def _best(standing: Standing) -> str:
    best = standing.best
    if best is None:
        return f"no {objective_words(standing)} yet"
    chosen = ", ".join(f"{shorten(key)} {format_value(value)}" for key, value in best.values.items())
    return f"{standing.objective(best):.4f} in trial {best.number} at step {best.step}: {chosen}"


def _trials(standing: Standing) -> str:
    counts = {status: standing.count(status) for status in STATUSES}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{len(standing.trials)} of {standing.spec.trials}" + (f": {said}" if said else "")


def _spent_bar(standing: Standing) -> str:
    limit = standing.spec.budget_usd
    return f"{_bar(standing.usd / limit)} " if limit else ""


def _sums(standing: Standing) -> str:
    usd, limit = format_usd(standing.usd), standing.spec.budget_usd
    worked = f"{format_seconds(standing.machine_s)} of machines"
    if limit is None:
        return f"{usd} and {worked}, without a limit"
    return f"{usd} of {format_usd(limit)} and {worked}; {format_usd(standing.left_usd or 0.0)} left"


def _bar(share: float) -> str:
    full = round(min(1.0, share) * BAR)
    return "█" * full + "░" * (BAR - full)


def _price(guard: SweepGuarded | None) -> str:
    """The spot price beside its cap, and what follows."""
    if guard is None:
        return ""
    spot, on_demand, cap = (guard.numbers.get(name) for name in ("spot_usd", "on_demand_usd", "cap"))
    if spot is None or not on_demand or cap is None:
        return guard.message
    effective = guard.numbers.get("effective_usd")
    lost = "" if effective is None else f", {format_usd(effective)} with what interruptions lose"
    share = f"{spot / on_demand:.0%} of {format_usd(on_demand)} on demand, cap {cap:.0%}"
    return f"spot {format_usd(spot)} an hour: {share}{lost} → {guard.action.replace('_', ' ')}"


def _price_bar(guard: SweepGuarded | None) -> str:
    """Up to the price on demand, with a mark at the cap."""
    spot, on_demand, cap = (guard.numbers.get(name) if guard else None for name in ("spot_usd", "on_demand_usd", "cap"))
    if spot is None or not on_demand or cap is None:
        return ""
    bar, mark = _bar(spot / on_demand), min(BAR - 1, round(cap * BAR))
    return f"{bar[:mark]}│{bar[mark + 1 :]} "


def _budget(guard: SweepGuarded | None) -> str:
    return "" if guard is None else guard.message


def _rung(rung: Rung) -> str:
    best = "" if rung.best is None else f", best {rung.best:.4f}"
    return f"step {rung.step}: {rung.reached} in, {rung.passed} on{best}"


def _interruptions(standing: Standing) -> str:
    lost = standing.preempted
    if not lost and not standing.resumed:
        return ""
    redone = sum(one.redone_steps for one in standing.trials)
    noticed = sum(one.noticed for one in standing.trials)
    words = [f"{lost} workers lost, {noticed} of them with a notice, {redone} steps made again"] if lost else []
    times = "once" if standing.resumed == 1 else f"{standing.resumed} times"
    return "; ".join([*words, *([f"resumed {times}"] if standing.resumed else [])])


def _status(standing: Standing) -> str:
    message = standing.ends[-1].message if standing.ends and standing.status != "running" else ""
    return standing.status + (f": {message}" if message else "")
