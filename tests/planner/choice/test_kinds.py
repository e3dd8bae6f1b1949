from __future__ import annotations

from tests.planner.offers import chip, offer, plain_offer, region
from tradewind.planner.choice.kinds import kinds, node_of


def test_equal_machines_are_one_kind_wherever_they_stand_and_whatever_they_cost() -> None:
    found, unknown = kinds([offer(40.0), offer(20.0, market="spot", where=region("gcp", "us-west1"), instance="other")])
    assert [kind.offers for kind in found] == [(0, 1)]
    assert unknown == {}


def test_machines_differ_by_chip_number_and_processors() -> None:
    found, _ = kinds([offer(), offer(chips=4), offer(of=chip("H200-SXM")), plain_offer(vcpus=8), plain_offer(vcpus=16)])
    assert len(found) == 5


def test_share_of_a_chip_is_of_no_kind() -> None:
    _, unknown = kinds([offer(chips=0, instance="slice")])
    assert str(unknown[0]) == "slice has no whole H100-SXM"


def test_machine_without_accelerators_computes_on_its_processors() -> None:
    node = node_of(plain_offer(vcpus=8))
    assert (node.chip.kind, node.chips, node.memory_bytes) == ("cpu", 1, 32 * 2**30)
