from __future__ import annotations

from typing import Any

import pytest

from tradewind.clusters.overlay import same_site_placement, site_with_room
from tradewind.errors import CapacityError


def node(site: str | None, *, gpus: float = 1, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Labels": {"site": site} if site else {}, "Resources": {"CPU": 8.0, "GPU": gpus}}


NODES = [node("onprem", gpus=2), node("aws", gpus=1), node("aws", gpus=4), node("aws", alive=False), node(None, gpus=9)]


def test_site_with_the_most_room_is_taken() -> None:
    assert site_with_room(NODES, 2, {"GPU": 1}) == "aws"
    assert site_with_room(NODES, 1, {"GPU": 4}) == "aws"
    assert site_with_room(NODES[:2], 2, {"GPU": 1}) == "onprem"


def test_collective_that_fits_into_no_single_site_is_refused() -> None:
    with pytest.raises(CapacityError, match="no site has room for 6 workers of one collective: aws 5, onprem 2"):
        site_with_room(NODES, 6, {"GPU": 1})


@pytest.mark.parametrize("resources", [{"TPU": 1}, {"GPU": 1, "TPU": 1}, {}])
def test_what_no_node_has_fits_nowhere(resources: dict[str, float]) -> None:
    with pytest.raises(CapacityError, match="no site has room"):
        site_with_room(NODES, 1, resources)


def test_placement_is_one_that_ray_takes() -> None:
    from ray.util.placement_group import validate_placement_group

    arguments = same_site_placement("SPREAD")
    assert arguments["topology_strategy"]["site"] == "STRICT_PACK"
    validate_placement_group([{"CPU": 1}] * 2, strategy=None, lifetime=None, **arguments)
