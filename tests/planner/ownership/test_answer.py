from __future__ import annotations

import json

import pytest

from tradewind.catalog import load_catalog
from tradewind.errors import NotFoundError, SpecError
from tradewind.planner.ownership import compare
from tradewind.planner.ownership.answer import Question, buy_or_rent

CATALOG = load_catalog()

ARTICLE = {"node_usd": 280_000.0, "node_kw": 15.0, "usd_per_kwh": 0.10, "idle_share": 1.0, "pue": 1.0, "wacc": 0.0}
BARE = dict.fromkeys(
    ("network_share", "spares_share", "residual_share", "space_usd_per_kw_month", "staff_fte_per_node",
     "maintenance_share_per_year"), 0.0,
)  # fmt: skip


def asked(**given: float) -> Question:
    return Question("A100-SXM-80GB", given={**ARTICLE, **BARE, **given})


def test_article_whose_inputs_are_given_gives_its_break_even() -> None:
    found = buy_or_rent(CATALOG, asked(usd_per_gpu_hour=1.5, utilisation=1.0, horizon_months=60))
    assert found.comparison.break_even_months is not None
    assert found.comparison.break_even_months / 12 == pytest.approx(3.0, abs=0.05)


def test_what_the_article_leaves_out_makes_it_later() -> None:
    bare = buy_or_rent(CATALOG, asked(usd_per_gpu_hour=1.5, utilisation=1.0)).comparison
    whole = buy_or_rent(
        CATALOG, Question("A100-SXM-80GB", given={**ARTICLE, "usd_per_gpu_hour": 1.5, "utilisation": 1.0})
    )
    assert bare.break_even_months is not None
    assert whole.comparison.break_even_months is None or whole.comparison.break_even_months > 2 * bare.break_even_months


def test_family_means_the_chip_that_machines_of_the_size_have() -> None:
    assert buy_or_rent(CATALOG, Question("h100")).chip.name == "H100-SXM"
    assert buy_or_rent(CATALOG, Question("A100", given={"node_usd": 2e5})).chip.name == "A100-SXM-80GB"


def test_every_number_says_where_it_is_from() -> None:
    found = buy_or_rent(CATALOG, Question(given={"wacc": 0.1}))
    assert found.inputs["wacc"].basis == "given"
    assert {one.basis for one in found.inputs.values()} == {"given", "source", "assumption"}
    assert all(one.source for one in found.inputs.values())
    assert found.comparison == compare(found.case)


def test_opportunity_is_beside_the_result_never_in_it() -> None:
    plain = buy_or_rent(CATALOG, Question())
    counted = buy_or_rent(CATALOG, Question(given={"opportunity_usd": 200_000.0}))
    assert plain.with_opportunity is None
    assert counted.comparison == plain.comparison
    assert counted.with_opportunity is not None
    assert counted.with_opportunity.buy_usd == pytest.approx(plain.comparison.buy_usd + 200_000)


def test_doubtful_inputs_are_named() -> None:
    assert (
        "15 kW is 2.3 times the most that a server with 8 A100-SXM-80GB should draw"
        in buy_or_rent(CATALOG, asked()).warnings
    )
    (warning,) = buy_or_rent(CATALOG, Question(pays="always")).warnings
    assert "no price of a reservation is known" in warning
    assert buy_or_rent(CATALOG, Question()).warnings == ()


def test_model_is_checked_on_one_machine() -> None:
    found = buy_or_rent(CATALOG, Question("A100", model="deepseek-r1", given={"node_usd": 2e5}))
    assert found.fit is not None
    assert not found.fit.fits
    assert found.to_dict()["fit"]["nearest"]


def test_plain_data_is_json() -> None:
    data = json.loads(json.dumps(buy_or_rent(CATALOG, Question()).to_dict()))
    assert data["comparison"]["answer"] in {"buy", "rent"}
    assert data["comparison"]["basis"] == "estimated"
    assert {row["input"] for row in data["tornado"]} >= {"utilisation", "wacc", "node_usd"}


def test_what_cannot_be_asked_says_why() -> None:
    with pytest.raises(NotFoundError, match="no chip named 'H1000'"):
        buy_or_rent(CATALOG, Question("H1000"))
    with pytest.raises(SpecError, match="no cloud rents a machine with 5 H100"):
        buy_or_rent(CATALOG, Question("H100", gpus_per_node=5))
    with pytest.raises(SpecError, match="node_usd is not known"):
        buy_or_rent(CATALOG, Question("A100"))
    with pytest.raises(SpecError, match=r"utilisation is 1\.5"):
        buy_or_rent(CATALOG, Question(given={"utilisation": 1.5}))
