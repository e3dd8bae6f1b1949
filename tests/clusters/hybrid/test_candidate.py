from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clusters.hybrid.conftest import candidate
from tradewind.clusters.hybrid.candidate import Candidate, in_order, read_candidates
from tradewind.errors import SpecError

BACKENDS = {
    "west": {"type": "aws", "region": "us-west-2"},
    "iowa": {"type": "gcp", "availability_zone": "us-central1-a"},
}

PRICED = st.builds(
    lambda number, usd, market: Candidate(name=f"c{number}", backend="west", usd_per_hour=usd, market=market),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.1, 0.2, 3.0]),
    st.sampled_from(["spot", "on_demand", "owned"]),
)


def of(**values: Any) -> Candidate:
    return Candidate(**candidate("a", "west", 0.1) | values)


def test_spot_costs_its_price_and_the_lost_work() -> None:
    assert of(market="spot").effective_usd_per_hour > 1.01 * of(market="on_demand").effective_usd_per_hour
    assert of(market="on_demand").effective_usd_per_hour == pytest.approx(0.1, rel=1e-3)


@given(candidates=st.lists(PRICED, max_size=8))
def test_cheapest_in_the_end_comes_first_and_ties_stay_as_written(candidates: list[Candidate]) -> None:
    ordered = in_order(candidates)
    keys = [(found.effective_usd_per_hour, min(i for i, c in enumerate(candidates) if c is found)) for found in ordered]
    assert keys == sorted(keys)


def test_place_is_the_zone_where_one_is_named() -> None:
    assert of().place(BACKENDS) == "us-west-2"
    assert of(backend="iowa").place(BACKENDS) == "us-central1-a"
    zoned = {"InstanceType": "m5.large", "Placement": {"AvailabilityZone": "us-west-2b"}}
    assert of(node_config=zoned).place(BACKENDS) == "us-west-2b"


@pytest.mark.parametrize(
    ("node_config", "machine"),
    [
        ({"InstanceType": "m5.large"}, "m5.large"),
        ({"machineType": "zones/us-central1-a/machineTypes/n2-standard-8"}, "n2-standard-8"),
        ({"azure_arm_parameters": {"vmSize": "Standard_D4s_v3"}}, "Standard_D4s_v3"),
        ({}, ""),
    ],
)
def test_machine_is_what_the_cloud_calls_it(node_config: dict[str, Any], machine: str) -> None:
    assert of(node_config=node_config).machine == machine


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"backend": "wets"},
            r"types\.cpu\.candidates\[1\]\.backend: no backend named 'wets' \(did you mean 'west'\?\)",
        ),
        ({"markt": "spot"}, r"types\.cpu\.candidates\[1\]: unknown key 'markt' \(did you mean 'market'\?\)"),
        ({"market": "cheap"}, r"types\.cpu\.candidates\[1\]: market: .*'cheap'"),
        ({"usd_per_hour": -1}, r"types\.cpu\.candidates\[1\]: usd_per_hour: "),
        ({"name": "Big One"}, r"types\.cpu\.candidates\[1\]: name: "),
        ({"name": "a"}, r"types\.cpu\.candidates: a is given twice"),
        ({"resources": {"CPU": 4}}, r"types\.cpu\.candidates: b has \{'CPU': 4.0\}, and a has \{'CPU': 2.0\}"),
    ],
)
def test_mistake_in_a_candidate_names_its_place(change: dict[str, Any], complaint: str) -> None:
    first = candidate("a", "west", 0.1) | {"resources": {"CPU": 2}}
    second = candidate("b", "west", 0.1) | change
    with pytest.raises(SpecError, match=complaint):
        read_candidates({"candidates": [first, second]}, BACKENDS, place="types.cpu")


@pytest.mark.parametrize("node_config", [{}, {"candidates": []}, {"candidates": "west"}, {"candidates": ["west"]}])
def test_class_without_candidates_is_refused(node_config: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"types\.cpu\.candidates"):
        read_candidates(node_config, BACKENDS, place="types.cpu")
