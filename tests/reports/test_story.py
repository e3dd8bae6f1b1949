from __future__ import annotations

from dataclasses import replace

from tradewind.reports import Story


def test_story_is_named_after_its_model(story: Story) -> None:
    assert story.name == "pystdlib@3"
    assert replace(story, model=None).name == story.start.run


def test_best_is_the_step_that_the_run_named(story: Story) -> None:
    assert story.end
    named = replace(story, end=story.end.model_copy(update={"best_step": 300}))
    assert named.best
    assert named.best.step == 300


def test_best_of_a_running_run_has_the_lowest_heldout_loss(story: Story) -> None:
    worse = story.checkpoints[2].model_copy(update={"heldout_loss": 9.0})
    running = replace(story, end=None, model=None, checkpoints=(*story.checkpoints[:2], worse))
    assert running.best == story.checkpoints[1]
    assert running.heldout_loss == story.checkpoints[1].heldout_loss


def test_source_is_the_checkpoint_that_the_model_came_from(story: Story) -> None:
    assert story.model
    third = story.checkpoints[2]
    early = replace(story, model=story.model.model_copy(update={"parents": (third.id,)}))
    assert early.source == third


def test_running_run_reports_its_last_step(story: Story) -> None:
    running = replace(story, end=None, metrics=story.metrics[:10])
    assert running.status == "running"
    assert running.tokens == 10 * 2048
    assert running.tokens_per_s == 6800.0
    assert running.seconds == story.metrics[9].seconds
    assert running.bigram_loss is None


def test_run_without_steps_has_no_figures(story: Story) -> None:
    fresh = replace(story, end=None, model=None, metrics=(), checkpoints=())
    assert (fresh.tokens, fresh.tokens_per_s, fresh.seconds, fresh.heldout_loss, fresh.best) == (
        0,
        None,
        None,
        None,
        None,
    )


def test_page_is_as_of_its_newest_record(story: Story) -> None:
    assert story.as_of == story.usage[-1].created_at
