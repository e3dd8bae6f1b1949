from __future__ import annotations

import pytest

from tradewind.reports import Story, usage_rows


def test_records_of_one_subject_become_one_row(story: Story) -> None:
    rows = usage_rows(story.usage)
    assert [row.activity for row in rows] == ["dataset", "training", "serving", "total"]
    serving = rows[2]
    assert (serving.subject, serving.requests, serving.tokens_served, serving.seconds) == (
        "endpoint:chat",
        8,
        752,
        12.0,
    )
    assert serving.tokens_per_s == pytest.approx(752 / 6)


def test_total_adds_up_and_has_no_rate(story: Story) -> None:
    *rows, total = usage_rows(story.usage)
    assert total.tokens_seen == sum(row.tokens_seen for row in rows)
    assert total.seconds == pytest.approx(sum(row.seconds for row in rows))
    assert total.energy_wh == pytest.approx(sum(row.energy_wh for row in rows))
    assert total.usd == pytest.approx(sum(row.usd for row in rows))
    assert total.tokens_per_s is None


def test_energy_is_estimated_as_soon_as_a_part_of_it_is(story: Story) -> None:
    measured = story.usage[0].model_copy(update={"energy_basis": "measured"})
    first, _, total = usage_rows([measured, story.usage[1]])
    assert (first.energy_basis, total.energy_basis) == ("measured", "estimated")


def test_work_that_took_no_time_has_no_rate_and_no_shares(story: Story) -> None:
    row, _ = usage_rows([story.usage[0].model_copy(update={"allocated_s": 0.0, "used_s": 0.0})])
    assert (row.tokens_per_s, row.used_share, row.productive_share) == (None, None, None)


def test_shares_are_of_the_time_that_was_held(story: Story) -> None:
    _, training, serving, total = usage_rows(story.usage)
    assert (training.used_share, training.productive_share) == pytest.approx((180 / 192, 0.9))
    assert (serving.used_share, serving.productive_share) == (0.5, 0.5)
    assert total.used_share == pytest.approx((14.2 + 180 + 6) / (14.2 + 192 + 12))


def test_rate_is_that_of_the_time_at_work_whatever_the_number_of_devices(story: Story) -> None:
    many = story.usage[0].model_copy(update={"devices": 8, "used_s": 8 * story.usage[0].used_s})
    assert usage_rows([many])[0].tokens_per_s == usage_rows([story.usage[0]])[0].tokens_per_s


def test_time_of_nodes_is_no_usage(story: Story) -> None:
    node = story.usage[0].model_copy(update={"activity": "cluster", "usd": 99.0})
    assert usage_rows([node, *story.usage]) == usage_rows(story.usage)


def test_transfers_are_told_apart_by_what_they_crossed(story: Story) -> None:
    moved = [
        story.usage[0].model_copy(update={"activity": "transfer", "boundary": crossed, "num_bytes": size, "usd": usd})
        for crossed, size, usd in (("internet", 10, 1.0), ("region", 20, 0.0), ("internet", 30, 3.0))
    ]
    rows = usage_rows(moved)
    assert [(row.activity, row.num_bytes, row.usd) for row in rows] == [
        ("transfer over internet", 40, 4.0),
        ("transfer over region", 20, 0.0),
        ("total", 60, 4.0),
    ]


def test_empty_ledger_is_a_total_of_nothing() -> None:
    (total,) = usage_rows([])
    assert (total.activity, total.tokens_seen, total.usd, total.energy_basis) == ("total", 0, 0, "estimated")
