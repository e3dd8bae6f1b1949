from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.tuning.sweeps import guarded, standing, start
from tradewind.records.sweep import SweepGuarded, TrialStart
from tradewind.tuning import table
from tradewind.tuning.standing import standing_of


def drawn(found: object, *, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(found)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_facts_have_the_best_the_money_the_price_and_the_rungs() -> None:
    found = standing()
    said = table.facts(found, bars=False)
    assert list(said) == ["best", "trials", "spent", "price", "rungs", "budget", "interruptions", "status"]
    assert re.match(r"3\.\d{4} in trial \d+ at step 160: learning rate 0\.\d+, kind adamw", said["best"])
    assert said["spent"].startswith(f"${found.usd:.2f} of $0.50 and ")
    assert said["price"] == (
        "spot $0.41 an hour: 41% of $1.00 on demand, cap 80%, $0.46 with what interruptions lose → spot"
    )
    assert said["rungs"].startswith("step 20: 18 in, ")
    assert said["interruptions"].startswith("4 workers lost, 1 of them with a notice, 39 steps made again; resumed")


@pytest.mark.parametrize(("spot", "bar"), [(0.0, "░" * 19 + "│" + "░" * 4), (0.5, "█" * 12), (2.0, "█" * 19 + "│████")])
def test_price_bar_is_marked_at_the_cap(spot: float, bar: str) -> None:
    found = replace(standing(), guarded=(guarded(spot),))
    assert table.facts(found)["price"].startswith(bar)


def test_price_of_an_own_machine_is_the_guards_sentence() -> None:
    own = SweepGuarded(guard="price", action="own", message="quay is paid for: its time alone is counted")
    assert table.facts(replace(standing(), guarded=(own,)))["price"] == own.message


def test_budget_that_is_not_there_has_no_bar() -> None:
    assert "without a limit" in table.facts(standing(budget_usd=None))["spent"]


def test_table_of_a_terminal_has_the_best_first_and_says_what_it_leaves_out() -> None:
    text = drawn(table.rich_table(standing()))
    rows = [line.split() for line in text.splitlines() if re.match(r" +\d+ (running|finished|pruned|failed)", line)]
    assert len(rows) == table.ROWS
    losses = [float(row[3]) for row in rows]
    assert losses == sorted(losses)
    assert "and 8 more" in text


def test_trial_at_work_is_shown_even_when_it_is_far_from_the_best() -> None:
    told = [TrialStart(number=number, values={}, run=f"r-{number}") for number in range(30)]
    assert len(table.rows(standing_of(start(), told))) == 30


@pytest.mark.parametrize("ended", [False, True])
def test_table_of_a_notebook_says_the_same_and_escapes_it(ended: bool) -> None:
    wicked = TrialStart(number=0, values={"optimizer.kind": "<script>"}, run="r")
    html = table.html_table(standing_of(start(), [wicked]))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    page = table.html_table(standing(ended=ended))
    assert all(text in page for text in table.facts(standing(ended=ended)))
    assert page.count("<table>") == page.count("</table>") == 2


def test_log_has_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    found = standing()
    with table.screen() as look:
        look(standing_of(start(), []))
        look(found)
        look(found)
    assert capsys.readouterr().err.splitlines() == [table.line(found)]


def test_shown_table_has_all_trials(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(standing())
    assert len(re.findall(r"^ +\d+ \w+ ", capsys.readouterr().out, re.MULTILINE)) == 20


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.00123"), ([0.9, 0.95], "0.9, 0.95"), (None, "–"), (True, "True"), ({"a": 1.0}, "a 1"), ("x", "x")],
)
def test_values_are_short(value: object, text: str) -> None:
    assert table.format_value(value) == text
