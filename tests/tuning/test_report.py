from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.tuning.sweeps import events, standing, start
from tradewind.records.sweep import SweepEvent, TrialEnd, TrialStart
from tradewind.tuning.report import sweep_fragment, sweep_page
from tradewind.tuning.standing import standing_of

TITLES = [
    "How it stands", "Values and what came of them", "What mattered", "Learning curves", "Cost against quality",
    "The best so far", "Trials, best first", "Errors", "What the guards decided", "Spec",
]  # fmt: skip


class Balance(HTMLParser):
    """That all tags but those that need none are closed in order."""

    VOID = ("meta", "link", "br", "path", "use", "rect")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("ended", [False, True])
def test_page_has_all_parts_and_is_whole(ended: bool) -> None:
    page = sweep_page(standing(ended=ended))
    assert re.findall(r"<h2>(.*?)</h2>", page) == TITLES
    assert page.count("<svg") == 5
    assert Balance(page).open == []


def test_page_needs_nothing_from_elsewhere() -> None:
    page = sweep_page(standing())
    assert "<script" not in page
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", page) == []


def test_page_says_the_answer_and_its_price() -> None:
    found = standing()
    page = sweep_page(found)
    assert "The lowest held-out loss is 3." in page
    assert f"<strong>${found.usd:.2f}</strong><span>spent of $0.50</span>" in page
    assert "4 workers were lost and 39 steps made again; that does not count against a trial." in page


def test_texts_of_users_are_escaped() -> None:
    page = sweep_page(standing())
    assert "<b>no memory</b>" not in page
    assert "RuntimeError: &lt;b&gt;no memory&lt;/b&gt; left on device" in page


def test_sweep_that_has_said_nothing_yet_has_a_page() -> None:
    assert "None of 0 trials has said a held-out loss yet." in sweep_page(standing_of(start(), []))
    told: list[SweepEvent] = [
        TrialStart(number=0, values={"model.layers": 2}, run="r"),
        TrialEnd(number=0, status="failed", message="x"),
    ]
    page = sweep_page(standing_of(start(), told))
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["How it stands", "Trials, best first", "Errors", "Spec"]


def test_sweep_of_two_trials_says_that_it_cannot_say_what_mattered() -> None:
    page = sweep_page(standing_of(start(), events(trials=2)))
    assert "Nothing can be said before 5 trials that differ." in page


def test_same_records_make_the_same_page() -> None:
    assert sweep_page(standing()) == sweep_page(standing())


def test_notebook_has_the_table_and_the_curves() -> None:
    assert sweep_fragment(standing()).count("<svg") == 1
    assert sweep_fragment(standing_of(start(), [])).startswith("<table>")
