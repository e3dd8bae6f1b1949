from __future__ import annotations

import math
import sys
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from tradewind.reports import Story, loss_curve
from tradewind.reports.chart import COLOURS

SVG = "{http://www.w3.org/2000/svg}"


def drawn(story: Story, *, bigram_loss: float | None = 4.871) -> str:
    return loss_curve(story.metrics, story.checkpoints, bigram_loss=bigram_loss)


def test_curve_is_one_svg_element_with_a_title(story: Story) -> None:
    root = ElementTree.fromstring(drawn(story))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    title = root[0]
    assert title.tag == f"{SVG}title"
    assert "lowest held-out loss 3.752, bigram baseline 4.871" in (title.text or "")


def test_letters_stay_text_and_name_no_font(story: Story) -> None:
    svg = drawn(story)
    words = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"tokens trained on", "loss, nats per token", "500 k", "bigram baseline", "held-out documents"} <= set(words)
    assert "DejaVu" not in svg
    assert "font-family" not in svg


def test_page_can_choose_every_colour(story: Story) -> None:
    svg = drawn(story)
    assert all(f"var({variable}, {colour})" in svg for variable, colour in COLOURS.items())


def test_no_baseline_is_drawn_when_there_is_none(story: Story) -> None:
    assert "bigram" not in drawn(story, bigram_loss=None)


def test_curve_without_steps_says_so() -> None:
    assert "no steps recorded" in loss_curve((), (), bigram_loss=None)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_short_runs_can_be_drawn(story: Story, count: int) -> None:
    ElementTree.fromstring(drawn(replace(story, metrics=story.metrics[:count], checkpoints=())))


def test_losses_that_are_not_numbers_are_left_out(story: Story) -> None:
    diverged = story.metrics[300].model_copy(update={"loss": math.nan})
    svg = drawn(replace(story, metrics=(*story.metrics[:300], diverged, *story.metrics[301:])))
    assert "nan" not in svg


def test_repeated_step_counts_as_it_went_last(story: Story) -> None:
    lost = story.metrics[40].model_copy(update={"loss": 99.0})
    assert drawn(replace(story, metrics=(*story.metrics[:40], lost, *story.metrics[40:]))) == drawn(story)


def test_long_runs_stay_small(story: Story) -> None:
    first = story.metrics[0]
    many = tuple(
        first.model_copy(update={"step": step, "tokens": step, "loss": 3 + step % 7}) for step in range(20_000)
    )
    assert len(drawn(replace(story, metrics=many))) < 60_000


def test_drawing_leaves_no_trace_in_the_process(story: Story) -> None:
    before = mpl.rcParams.copy()
    assert drawn(story) == drawn(story)
    assert mpl.rcParams.copy() == before
    assert "matplotlib.pyplot" not in sys.modules
