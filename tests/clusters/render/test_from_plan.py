from __future__ import annotations

from typing import Any

import pytest

from tradewind.catalog import load_catalog
from tradewind.clusters.render import blueprint, of_placement
from tradewind.errors import SpecError
from tradewind.records import Placement, PlanRecord
from tradewind.records.plan import Cost, Interval

HOURS = Interval(low=1, value=2, high=3)


def placement(**values: Any) -> Placement:
    found: dict[str, Any] = {
        "offer": "gcp/us-central1/g2-standard-8/spot",
        "cloud": "gcp",
        "region": "us-central1",
        "zone": "",
        "instance": "g2-standard-8",
        "market": "spot",
        "chip": "L4",
        "machines": 3,
        "chips": 3,
        "layout": {},
        "precision": "bf16",
        "tokens_per_s": HOURS,
        "estimated_tokens_per_s": 1.0,
        "hours": HOURS,
        "usd_per_machine_hour": 0.48,
        "price_as_of": None,
        "price_is_old": True,
        "cost": Cost(compute_usd=1, rework_usd=0, idle_usd=0, transfer_usd=0, storage_usd=0),
        "cost_usd": HOURS,
        "usd_per_million_tokens": 1.0,
        "energy_kwh": None,
        "carbon_kg": None,
        "effort_days": 0.0,
        "memory_bytes": 1,
        "basis": "estimated",
    }
    return Placement(**{**found, **values})


def record(*placements: Placement) -> PlanRecord:
    return PlanRecord(
        plan="pilot-20261126-090000",
        spec={},
        spec_kind="train",
        placements=placements,
        num_candidates=1,
        num_rejected=0,
        rejected={},
    )


def test_placement_becomes_a_cluster_with_as_many_machines_spot_first() -> None:
    one = placement()
    spec = of_placement(one, record(one), load_catalog())
    cluster = blueprint(spec.with_values(gcp_project="acme"), load_catalog())
    (work,) = cluster.groups
    assert [found.market for found in work.candidates] == ["spot", "on_demand"]
    assert cluster.max_workers == work.max == 3
    assert spec.head.machine == "e2-standard-2"
    assert spec.ttl_s == 5 * 3600


def test_placement_on_demand_has_no_spot_machines() -> None:
    one = placement(market="on_demand", usd_per_machine_hour=0.86)
    spec = of_placement(one, record(one), load_catalog())
    assert [found.market for found in spec.groups["work"].candidates] == ["on_demand"]


def test_placement_on_machines_of_ones_own_is_refused() -> None:
    one = placement(cloud="onprem", region="berlin", market="owned")
    with pytest.raises(SpecError, match=r"machines of onprem are not launched"):
        of_placement(one, record(one), load_catalog())
