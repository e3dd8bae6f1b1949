from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.catalog import load_catalog
from tradewind.catalog.transfer import transfer_tariff
from tradewind.errors import NotFoundError, SpecError
from tradewind.planner.effort import estimate
from tradewind.planner.migration import Finding, Migration, Wish, estimate_migration
from tradewind.planner.migration.rules import VERDICTS
from tradewind.planner.migration.tasks import tasks_for

CATALOG = load_catalog()
TB = 10**12


def moved(source: str, target: str, **wish: object) -> Migration:
    return estimate_migration(CATALOG, replace(Wish(source, target), **wish))  # type: ignore[arg-type]


def topic(found: Migration, name: str) -> Finding:
    (one,) = (finding for finding in found.findings if finding.topic == name)
    return one


def test_nothing_differs_from_itself_and_a_smoke_test_is_all() -> None:
    for cloud, gpu in (("aws", "H100"), ("gcp", "TPU-v5e"), ("azure", "MI300X")):
        found = moved(cloud, cloud, gpu=gpu, data_bytes=50 * TB, nodes=4)
        assert {finding.verdict for finding in found.findings} == {"no-op"}
        assert [task.name for task in found.effort.tasks] == ["smoke-test"]
        assert 0.5 <= found.effort.p50_person_days <= found.effort.p80_person_days <= 2
        assert (found.data.usd, found.data.seconds) == (0, 0)
        assert found.bill_before == found.bill_after


def test_h100_from_aws_finds_its_like_at_google() -> None:
    found = moved("aws", "gcp", gpu="H100", data_bytes=50 * TB, nodes=4)
    assert found.before.instance is not None
    assert found.after.instance is not None
    assert (found.before.instance.name, found.after.instance.name) == ("p5.48xlarge", "a3-highgpu-8g")
    assert found.after.nodes == 4
    assert topic(found, "chip").verdict == "no-op"
    assert (topic(found, "fabric").before, topic(found, "fabric").after) == ("efa", "tcpx")
    assert "GPUDirect-TCPX" in topic(found, "fabric").reason
    notice = topic(found, "spot_notice")
    assert (notice.before, notice.after, notice.verdict) == ("120 s", "30 s", "risk")
    assert topic(found, "quota").verdict == "blocker"
    assert topic(found, "services").verdict == "risk"
    assert topic(found, "storage").verdict == "no-op"


def test_order_is_what_stops_everything_then_what_may_go_wrong() -> None:
    places = [VERDICTS.index(finding.verdict) for finding in moved("aws", "azure", gpu="A100").findings]
    assert places == sorted(places)


def test_another_vendor_blocks_until_kernels_are_there() -> None:
    found = moved("azure", "gcp", gpu="MI300X")
    assert topic(found, "runtime").verdict == "blocker"
    assert {"kernels", "tuning", "validation"} <= {task.name for task in found.effort.tasks}
    same_vendor = moved("azure", "gcp", gpu="H100")
    assert found.effort.p50_person_days > same_vendor.effort.p50_person_days + 20


def test_lost_number_formats_are_named_one_by_one() -> None:
    found = moved("aws", "aws", instance="p5.48xlarge", target_instance="p3dn.24xlarge")
    lost = {finding.before: finding.verdict for finding in found.findings if finding.topic == "precision"}
    assert lost["bf16"] == "blocker"
    assert lost["fp8"] == "risk"


def test_one_machine_needs_no_fabric() -> None:
    found = moved("aws", "gcp", gpu="H100")
    assert topic(found, "fabric").verdict == "no-op"
    assert "fabric" not in {task.name for task in found.effort.tasks}


def test_fewer_chips_in_a_machine_take_more_machines() -> None:
    found = moved("gcp", "aws", instance="a2-megagpu-16g", nodes=3, target_instance="p4d.24xlarge")
    assert found.after.nodes == 6
    assert topic(found, "chips").verdict == "risk"


def test_data_pays_the_tariff_and_takes_its_time() -> None:
    found = moved("aws", "gcp", source_region="us-east-1", data_bytes=50 * TB, bandwidth_bytes_per_s=1.25e9)
    assert found.data.usd == transfer_tariff(found.before.place, found.after.place).usd(50 * TB) > 1000
    assert found.data.seconds == 40_000
    assert found.data.tariff_source
    assert moved("aws", "gcp", source_region="us-east-1").data.usd == 0


def test_region_of_the_same_cloud_is_a_small_move() -> None:
    found = moved("aws", "aws", gpu="H100", source_region="us-east-1", target_region="eu-north-1", data_bytes=TB)
    differing = {finding.topic for finding in found.findings if finding.differs}
    assert differing == {"quota", "residency", "data"}


def test_bills_are_prices_of_the_catalogue_for_all_hours() -> None:
    found = moved("aws", "gcp", gpu="H100", nodes=2, month="720h")
    assert found.bill_before is not None
    assert found.bill_before.usd_per_month == pytest.approx(2 * 720 * found.bill_before.offer.usd_per_hour)
    longer = moved("aws", "gcp", gpu="H100", nodes=2, month="730h")
    assert longer.bill_before is not None
    assert longer.bill_before.usd_per_month == pytest.approx(found.bill_before.usd_per_month * 730 / 720)


def test_machine_without_a_price_has_no_bill_and_says_so() -> None:
    found = moved("aws", "gcp", instance="p5.48xlarge", target_instance="a4-highgpu-8g")
    assert found.bill_after is None
    assert any("no on-demand price of a4-highgpu-8g" in note for note in found.notes)


def test_machines_that_nobody_named_are_a_risk_not_an_omission() -> None:
    found = moved("aws", "gcp")
    assert topic(found, "machine").verdict == "risk"
    assert found.bill_before is found.bill_after is None


def test_waiver_of_fees_is_a_note_with_its_source() -> None:
    assert any("waived on request" in note and "2025-09-10" in note for note in moved("aws", "gcp").notes)
    assert moved("aws", "aws").notes == ()


def test_more_data_never_makes_it_cheaper_or_shorter() -> None:
    before = moved("aws", "gcp")
    for size in (1, TB, 10 * TB, 1000 * TB):
        after = moved("aws", "gcp", data_bytes=size)
        assert after.data.usd >= before.data.usd
        assert after.effort.p50_days >= before.effort.p50_days
        assert after.effort.p80_person_days >= before.effort.p80_person_days
        before = after


TOPICS = ["runtime", "chip", "fabric", "identity", "network", "image", "quota", "services", "data", "spot_notice"]


@settings(max_examples=40, deadline=None)
@given(more=st.sets(st.sampled_from(TOPICS)), data=st.data(), team=st.integers(1, 6))
def test_more_differences_never_take_less(more: set[str], data: st.DataObject, team: int) -> None:
    fewer = {name for name in sorted(more) if data.draw(st.booleans())}
    less, much = (estimate(tasks_for(topics, transfer_days=2), team=team, futures=300) for topics in (fewer, more))
    assert much.p50_person_days >= less.p50_person_days - 1e-9
    assert much.p80_days >= less.p80_days - 1e-9


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (Wish("awz", "gcp"), r"no cloud named 'awz' \(did you mean 'aws'\?\)"),
        (Wish("aws", "gpc"), r"no cloud named 'gpc' \(did you mean 'gcp'\?\)"),
        (Wish("aws", "gcp", source_region="us-eats-2"), r"did you mean 'us-east-2'\?"),
        (Wish("aws", "gcp", target_region="us-centrl1"), r"did you mean 'us-central1'\?"),
        (Wish("aws", "gcp", gpu="H1000"), "no chip named 'H1000'"),
        (Wish("aws", "gcp", gpu="MI300X"), "aws has no price of a machine with MI300X"),
        (Wish("aws", "gcp", instance="p5.48xlrge"), r"did you mean 'p5.48xlarge'\?"),
        (Wish("aws", "gcp", gpu="H100", target_instance="a3-highgpu-8"), "did you mean 'a3-highgpu-8g'"),
    ],
)
def test_unknown_names_come_with_the_nearest(wish: Wish, says: str) -> None:
    with pytest.raises(NotFoundError, match=says):
        estimate_migration(CATALOG, wish)


@pytest.mark.parametrize("wish", [{"nodes": 0}, {"data_bytes": -1}, {"bandwidth_bytes_per_s": 0.0}])
def test_sizes_that_cannot_be_are_refused(wish: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="cannot move"):
        moved("aws", "gcp", **wish)


def test_plain_data_is_json() -> None:
    data = json.loads(json.dumps(moved("aws", "gcp", gpu="H100", data_bytes=TB).to_dict()))
    assert data["after"]["instance"] == "a3-highgpu-8g"
    assert data["effort"]["basis"] == "estimated"
    assert {finding["verdict"] for finding in data["findings"]} == set(VERDICTS)
