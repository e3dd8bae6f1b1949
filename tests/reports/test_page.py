from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tradewind.reports import Story, render
from tradewind.reports.page import format_energy, format_perplexity

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Which elements a page has, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html[html.index("<body>") :]).split())


def unfinished(story: Story) -> Story:
    return replace(story, end=None, model=None, aliases=(), endpoint=None, usage=(), sample=None)


def test_headline_sets_the_model_against_the_baseline(story: Story) -> None:
    text = text_of(render(story))
    assert "the loss of the model is 3.752 nats per token (perplexity 42.6), against 4.871 (perplexity 130.5)" in text
    assert "1.119 nats better" in text


def test_headline_admits_a_model_that_does_not_beat_the_baseline(story: Story) -> None:
    assert story.end
    poor = replace(story, end=story.end.model_copy(update={"bigram_loss": 3.0}))
    assert "does not beat the baseline" in text_of(render(poor))


def test_page_tells_the_whole_story(story: Story) -> None:
    text = text_of(render(story))
    for fact in (
        "@prod", "1.23 M tokens seen", "6.81 k tokens/s", "3 min 12 s training time", "$0.0046 training cost",
        "hidden 128, layers 4, heads 4, tied", "1,050,752", "4.1 MiB in 3 files", "torch 2.13.0", "Xeon 8481C",
        "endpoint:chat/1", "2025-03-04 12:08:00 UTC", "uint16", "1,411", "Endpoint spec", "resumed 1 time",
    ):  # fmt: skip
        assert fact in text


def test_every_energy_is_marked_estimated(story: Story) -> None:
    text = text_of(render(story))
    energies = re.findall(r"[0-9.]+ k?Wh (\S+ \S+)", text)
    assert len(energies) == 5
    assert all("estimated" in words for words in energies)


def test_only_the_best_checkpoint_is_marked(story: Story) -> None:
    best = re.findall(r'<tr class="best"><td class="n">(\d+)</td>', render(story))
    assert best == ["600"]


def test_prompt_is_told_apart_from_completion(story: Story) -> None:
    html = render(replace(story, sample=("one ", "two")))
    assert '<span class="prompt">one </span><mark>two</mark>' in html


def test_page_needs_nothing_from_elsewhere(story: Story) -> None:
    html = render(story)
    page = Page(html)
    assert not page.open
    assert not {"script", "img", "iframe", "object"} & set(page.tags)
    assert all(address == "data:," or address.startswith("#") for address in page.addresses)
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_texts_of_users_are_escaped(story: Story) -> None:
    assert story.end
    assert story.model
    assert story.endpoint
    evil = replace(
        story,
        dataset=story.dataset.model_copy(update={"name": EVIL, "spec": {"name": EVIL}}),
        start=story.start.model_copy(update={"run": EVIL, "spec": {"model": {"family": EVIL, "hidden": EVIL}}}),
        end=story.end.model_copy(update={"status": "failed", "message": EVIL}),
        model=story.model.model_copy(update={"name": EVIL, "card": {"limits": EVIL}}),
        aliases=(EVIL,),
        endpoint=story.endpoint.model_copy(update={"name": EVIL, "engine": EVIL}),
        usage=(story.usage[0].model_copy(update={"subject": EVIL, "energy_basis": EVIL}),),
        sample=(EVIL, "</mark>" + EVIL),
    )
    html = render(evil)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15
    assert not Page(html).open


def test_same_records_make_the_same_page(story: Story) -> None:
    assert render(story) == render(story)


def test_running_run_is_told_as_far_as_it_went(story: Story) -> None:
    text = text_of(render(unfinished(story)))
    assert "This run is still going." in text
    assert "the loss of the best checkpoint is 3.752" in text
    assert "no bigram baseline has been measured" in text
    for missing in ("No completion was sampled.", "not registered", "not served", "Nothing is in the ledger yet."):
        assert missing in text


@pytest.mark.parametrize(("status", "words"), [("failed", "This run failed."), ("stopped", "stopped before its end")])
def test_run_that_ended_early_says_why(story: Story, status: str, words: str) -> None:
    assert story.end
    end = story.end.model_copy(update={"status": status, "message": "worker 1: out of memory", "effort": None})
    text = text_of(render(replace(unfinished(story), end=end)))
    assert words in text
    assert "worker 1: out of memory" in text


def test_run_that_never_took_a_step_has_a_page(story: Story) -> None:
    bare = story.start.model_copy(update={"spec": {}, "versions": {}})
    text = text_of(render(replace(unfinished(story), start=bare, metrics=(), checkpoints=())))
    for missing in (
        "No held-out loss has been measured",
        "No steps were recorded.",
        "No checkpoint was made.",
        "not been evaluated",
    ):
        assert missing in text


def test_perplexity_of_a_hopeless_loss_is_not_computed() -> None:
    assert format_perplexity(4.0) == "54.6"
    assert format_perplexity(1e6) == format_perplexity(float("inf")) == "over 10¹¹"


def test_energy_takes_a_prefix_only_when_large() -> None:
    assert [format_energy(wh) for wh in (0.0, 0.4123, 999.0, 1234.0)] == ["0 Wh", "0.412 Wh", "999 Wh", "1.23 kWh"]


def test_importing_reports_is_light() -> None:
    heavy = "matplotlib|jinja2|yaml|numpy|ray|torch"
    code = f"import sys, tradewind.reports; sys.exit(sorted(set(sys.modules) & set('{heavy}'.split('|'))) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
