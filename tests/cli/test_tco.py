"""`tw tco buy-vs-rent`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Tw


def test_table_has_the_break_even_what_matters_and_where_each_number_is_from(tw: Tw, empty: Path) -> None:
    answer = tw("tco", "buy-vs-rent", "-w", empty)
    assert answer.exit_code == 0, answer.err
    assert "8 H100-SXM over 36 months of 730 hours, estimated" in answer.out
    assert "break-even" in answer.out
    assert "At a use of 50%, " in answer.out
    assert "changes the answer" in answer.out
    assert "staff_fte_per_node" in answer.out
    assert "assumption: one person runs ten servers" in answer.out


def test_price_of_a_machine_and_of_its_chips_are_one(tw: Tw, empty: Path) -> None:
    words = ("tco", "buy-vs-rent", "-w", empty, "--json")
    by_chip = tw(*words, "--usd-per-gpu-hour", 5).json["comparison"]
    assert by_chip == tw(*words, "--usd-per-node-hour", 40).json["comparison"]
    both = tw(*words, "--usd-per-gpu-hour", 5, "--usd-per-node-hour", 40)
    assert (both.exit_code, "a price of a chip and a price of a machine" in both.err) == (2, True)


def test_inputs_can_be_set_and_mistakes_name_the_nearest(tw: Tw, empty: Path) -> None:
    words = ("tco", "buy-vs-rent", "-w", empty)
    given = tw(*words, "--set", "wacc=0.2", "--json").json["inputs"]
    assert [one["basis"] for one in given if one["name"] == "wacc"] == ["given"]
    wrong = tw(*words, "--set", "wac=0.2")
    assert (wrong.exit_code, "did you mean 'wacc'?" in wrong.err) == (2, True)
    text = tw(*words, "--set", "wacc=much")
    assert (text.exit_code, "'much' is no number" in text.err) == (2, True)


def test_delay_is_shown_beside_the_result_without_it(tw: Tw, empty: Path) -> None:
    words = ("tco", "buy-vs-rent", "-w", empty)
    delayed = ("--delay-months", 3, "--usd-per-month-of-delay", 50_000, "--setup-person-months", 2)
    answer = tw(*words, *delayed)
    assert "without opportunity costs: At a use" in answer.out
    assert "with them: At a use" in answer.out
    plain, with_it = (tw(*words, *more, "--json").json for more in ((), delayed))
    assert with_it["comparison"]["buy_usd"] == plain["comparison"]["buy_usd"]
    assert with_it["with_opportunity"]["buy_usd"] - plain["comparison"]["buy_usd"] == 150_000 + 30_000
    assert plain["with_opportunity"] is None


def test_model_that_does_not_fit_is_said_first(tw: Tw, empty: Path) -> None:
    answer = tw(
        "tco", "buy-vs-rent", "-w", empty, "--gpu", "A100", "--set", "node_usd=200000", "--model", "deepseek-r1"
    )
    assert answer.out.startswith("deepseek-r1 does not fit on 8 × A100-SXM-80GB in bf16 or fp8; nearest: int4")
    assert "8 × H200-SXM" in answer.out.splitlines()[0]


def test_page_is_written_where_it_is_asked_for(tw: Tw, empty: Path, tmp_path: Path) -> None:
    assert tw("tco", "buy-vs-rent", "-w", empty, "--html", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<svg") == 2
    nowhere = tw("tco", "buy-vs-rent", "-w", empty, "--html", tmp_path / "no" / "page.html")
    assert (nowhere.exit_code, "cannot be written" in nowhere.err) == (2, True)
