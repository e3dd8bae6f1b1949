from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.catalog.transfer import (
    COLUMNS,
    GIGABYTE,
    Tier,
    TransferTariff,
    read_transfer,
    transfer_lines,
    transfer_tariff,
)
from tradewind.errors import IntegrityError
from tradewind.records import Place

TB = 1000 * GIGABYTE
EACH = [line.tariff for line in transfer_lines()]

tariffs = st.sampled_from(EACH)
volumes = st.integers(0, 10**16)


def between(source: str, target: str) -> TransferTariff:
    return transfer_tariff(Place.parse(source), Place.parse(target))


@given(tariffs, volumes, volumes, volumes)
def test_more_bytes_never_cost_less(tariff: TransferTariff, already: int, few: int, more: int) -> None:
    assert tariff.usd(few, already_bytes=already) <= tariff.usd(few + more, already_bytes=already)


@given(tariffs, volumes, volumes, volumes)
def test_two_transfers_cost_as_much_as_one_of_both(tariff: TransferTariff, already: int, first: int, then: int) -> None:
    apart = tariff.usd(first, already_bytes=already) + tariff.usd(then, already_bytes=already + first)
    assert apart == pytest.approx(tariff.usd(first + then, already_bytes=already), rel=1e-12, abs=1e-12)


@given(tariffs, volumes)
def test_one_byte_never_costs_more_than_the_dearest_gigabyte_says(tariff: TransferTariff, num_bytes: int) -> None:
    """There is no jump at the edge of a tier."""
    step = tariff.usd(num_bytes + 1) - tariff.usd(num_bytes)
    dearest = max(tier.usd_per_gb for tier in tariff.tiers)
    assert step <= dearest / GIGABYTE + 1e-12 * tariff.usd(num_bytes + 1)


@given(tariffs)
def test_nothing_costs_nothing(tariff: TransferTariff) -> None:
    assert tariff.usd(0) == 0


@given(tariffs, volumes)
def test_amount_lies_between_the_cheapest_and_the_dearest_tier(tariff: TransferTariff, num_bytes: int) -> None:
    prices = [tier.usd_per_gb for tier in tariff.tiers]
    gigabytes = num_bytes / GIGABYTE
    assert min(prices) * gigabytes * (1 - 1e-9) <= tariff.usd(num_bytes) <= max(prices) * gigabytes * (1 + 1e-9)


def test_each_tier_is_charged_for_the_bytes_in_it() -> None:
    tariff = TransferTariff("internet", (Tier(0, 0.09), Tier(10 * TB, 0.085), Tier(50 * TB, 0.07)), "page", "")
    assert tariff.usd(10 * TB) == pytest.approx(900)
    assert tariff.usd(11 * TB) == pytest.approx(900 + 85)
    assert tariff.usd(60 * TB) == pytest.approx(900 + 40 * 85 + 10 * 70)
    assert tariff.usd(TB, already_bytes=50 * TB) == pytest.approx(70)
    assert tariff.usd(2 * TB, already_bytes=9 * TB) == pytest.approx(90 + 85)


def test_lists_of_volume_are_used() -> None:
    tariff = between("gcp/us-central1", "aws/us-east-1")
    assert [tier.usd_per_gb for tier in tariff.tiers] == [0.12, 0.11, 0.08]
    assert tariff.usd(20 * TB) < 20_000 * 0.12


def test_every_line_says_where_it_is_from_and_when_or_why_not() -> None:
    for tariff in EACH:
        assert tariff.source
        assert tariff.as_of or "not stated" in tariff.note


def test_what_is_not_known_costs_as_much_as_the_dearest_and_says_so() -> None:
    dearest = max(tariff.first_usd_per_gb for tariff in EACH)
    found = between("unheard/of", "aws/us-east-1")
    assert found.usd(GIGABYTE) == pytest.approx(dearest)
    assert not found.is_known
    assert found.source.startswith("not known")
    assert between("aws/us-east-1", "gcp/us-east1").is_known


def test_folder_of_this_machine_costs_nothing() -> None:
    assert between("local", "aws/us-east-1").usd(10**15) == 0


def sheet(*tiers: str) -> bytes:
    return "\n".join([",".join(COLUMNS), *(f"aws,internet,*,*,{tier},,page," for tier in tiers)]).encode()


@pytest.mark.parametrize(
    ("tiers", "complaint"),
    [
        (["5,,0.1"], "line 2, column from_gb: does not begin where the tier before it ends"),
        (["0,10,0.1"], "line 2, column to_gb: the last tier of a line has no end"),
        (["0,10,0.1", "20,,0.1"], "line 3, column from_gb: does not begin"),
        (["0,,0.1", "10,,0.1"], "line 3, column from_gb: does not begin"),
        (["0,0,0.1", "0,,0.1"], "line 2, column to_gb: is not more than from_gb"),
        (["0,,"], "line 2, column usd_per_gb: is empty"),
        (["0,,-1"], "line 2, column usd_per_gb: -1 is less than 0"),
    ],
)
def test_tiers_with_a_gap_or_an_overlap_are_refused(tiers: list[str], complaint: str) -> None:
    with pytest.raises(IntegrityError, match=f"transfer.csv, {complaint}"):
        list(read_transfer(sheet(*tiers), "transfer.csv"))


def test_unknown_boundary_is_refused() -> None:
    with pytest.raises(IntegrityError, match="column boundary: 'intranet' is not one of"):
        list(read_transfer(sheet("0,,1").replace(b"internet", b"intranet"), "transfer.csv"))
