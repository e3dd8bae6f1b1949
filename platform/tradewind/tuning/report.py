"""The report of a sweep: one HTML page that needs nothing else, from its records."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.reports import Part, Sheet, render_sheet
from tradewind.tuning.charts import best_so_far, cost_chart, importance_chart, learning_curves, parallel_coordinates
from tradewind.tuning.importance import LEAST_TRIALS, METHOD, importance
from tradewind.tuning.standing import Standing
from tradewind.tuning.table import columns, facts, format_value, html_table, objective_words, rows, shorten
from tradewind.units import format_seconds, format_usd

GUARDED = 40
"""Decisions of the guards that are shown, the newest."""


def sweep_page(standing: Standing) -> str:
    """The page. Every text of users is escaped."""
    return render_sheet(
        Sheet(
            title=standing.name,
            kicker=f"sweep · {standing.start.created_at:%Y-%m-%d %H:%M} UTC · {standing.status}",
            headline=_headline(standing),
            tiles=_tiles(standing),
            parts=list(_parts(standing)),
        )
    )


def sweep_fragment(standing: Standing) -> str:
    """For a notebook: the table, and the curves where there are some."""
    curves = learning_curves(standing) if any(one.points for one in standing.trials) else ""
    return html_table(standing) + curves


def _headline(standing: Standing) -> str:
    best, objective = standing.best, objective_words(standing)
    if best is None:
        return f"None of {len(standing.trials)} trials has said a {objective} yet."
    chosen = ", ".join(f"{shorten(key)} {format_value(value)}" for key, value in best.values.items())
    return (
        f"The {'lowest' if standing.minimizes else 'highest'} {objective} is {standing.objective(best):.4f}: {chosen}."
    )


def _tiles(standing: Standing) -> dict[str, str]:
    best, limit = standing.best, standing.spec.budget_usd
    found = {
        f"best {objective_words(standing)}": "–" if best is None else f"{standing.objective(best):.4f}",
        f"of {standing.spec.trials} trials": str(len(standing.trials)),
        f"spent of {format_usd(limit)}" if limit else "spent": format_usd(standing.usd),
        "machine time": format_seconds(standing.machine_s),
        "of all steps not taken": f"{standing.saved:.0%}",
    }
    lost = standing.preempted
    return {**found, "workers lost": str(lost)} if lost else found


def _parts(standing: Standing) -> Iterator[Part]:
    told = [one for one in standing.trials if standing.objective(one) is not None]
    yield Part("How it stands", ("", ""), list(facts(standing, bars=False).items()))
    if told:
        yield Part("Values and what came of them", charts=[parallel_coordinates(standing)], notes=[_LINES])
        yield _importance(standing)
    if any(one.points for one in told):
        yield Part("Learning curves", charts=[learning_curves(standing)])
        yield Part("Cost against quality", charts=[cost_chart(standing)])
        yield Part("The best so far", charts=[best_so_far(standing)], notes=[_ANYTIME])
    yield Part("Trials, best first", columns(standing), rows(standing, most=None), notes=[_lost(standing)])
    yield from _failures(standing)
    yield from _guards(standing)
    yield Part("Spec", ("key", "value"), [(key, format_value(value)) for key, value in _wishes(standing).items()])


_LINES = "A line is a trial: the best one, the best quarter, and the others. Absent: its condition did not hold."
_ANYTIME = "Over what all trials together had taken by then: what a smaller budget would have found."


def _importance(standing: Standing) -> Part:
    shares = importance(standing)
    if not shares:
        return Part("What mattered", notes=[f"Nothing can be said before {LEAST_TRIALS} trials that differ."])
    return Part("What mattered", charts=[importance_chart(shares)], notes=[METHOD])


def _lost(standing: Standing) -> str:
    redone = sum(one.redone_steps for one in standing.trials)
    lost = standing.preempted
    if not lost:
        return "No worker was lost."
    return f"{lost} workers were lost and {redone} steps made again; that does not count against a trial."


def _failures(standing: Standing) -> Iterator[Part]:
    failed = [one for one in standing.trials if one.status == "failed" or one.failures]
    if failed:
        cells = [
            (str(one.number), one.status, str(one.failures), one.message, " ⏎ ".join(one.log[-3:])) for one in failed
        ]
        yield Part("Errors", ("trial", "status", "tried again", "message", "last lines of the log"), cells)


def _guards(standing: Standing) -> Iterator[Part]:
    if standing.guarded:
        newest = standing.guarded[-GUARDED:]
        cells = [
            (f"{one.at:%Y-%m-%d %H:%M:%S}", one.guard, one.action.replace("_", " "), one.message) for one in newest
        ]
        hidden = len(standing.guarded) - len(newest)
        notes = [f"{hidden} older ones are in the records."] if hidden else []
        yield Part("What the guards decided", ("time (UTC)", "guard", "decision", "why"), cells, notes=notes)


def _wishes(standing: Standing) -> dict[str, object]:
    """What was searched, how, and within which limits; the training spec in the words that differ from defaults."""
    spec = standing.spec
    ranges = {key: f"{one.kind} {format_value(list(one.ends))}{_when(one.when)}" for key, one in spec.space.items()}
    wish = spec.model_dump(mode="json", exclude={"train", "space"}, exclude_none=True)
    train = spec.train.model_dump(mode="json", exclude_defaults=True)
    return {**ranges, **wish, "train": train}


def _when(needs: dict[str, object]) -> str:
    return "".join(f", when {shorten(key)} is {format_value(value)}" for key, value in needs.items())
