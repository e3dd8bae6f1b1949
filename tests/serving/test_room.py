from __future__ import annotations

from typing import Any

import pytest

from tradewind.errors import CapacityError
from tradewind.serving.hosts import Host
from tradewind.serving.room import need_chips
from tradewind.specs import ServeSpec


def spec(**changes: Any) -> ServeSpec:
    return ServeSpec.of(name="chat", model="pilot", **changes)


FOUR, EIGHT, NONE = Host({"CPU": 64.0, "GPU": 4.0}), Host({"CPU": 128.0, "GPU": 8.0}), Host({"CPU": 4.0})
L4 = Host({"GPU": 1.0}, {"ray.io/accelerator-type": "L4"})
H100_TO_COME = Host({"GPU": 8.0, "accelerator_type:H100": 1.0})


@pytest.mark.parametrize(
    ("changes", "hosts"),
    [
        ({"chips_per_replica": 1}, [NONE, FOUR]),
        ({"parallel": {"tensor": 8}}, [FOUR, EIGHT]),
        ({"parallel": {"tensor": 4, "pipeline": 2}}, [FOUR, FOUR]),
        ({"chips_per_replica": 1, "where": {"chips": ["H100"]}}, [L4, H100_TO_COME]),
        ({"chips_per_replica": 1, "where": {"chips": ["H100"]}}, [L4, FOUR]),
    ],
)
def test_replica_that_fits_is_no_error(changes: dict[str, Any], hosts: list[Host]) -> None:
    need_chips(spec(**changes), hosts)


@pytest.mark.parametrize(
    ("changes", "hosts", "complaint", "hint"),
    [
        ({"chips_per_replica": 1}, [NONE], "needs 1 accelerator, and this Ray has none", "chips_per_replica: 0"),
        ({"chips_per_replica": 1}, [], "needs 1 accelerator, and this Ray has none", "RAY_ADDRESS"),
        ({"parallel": {"tensor": 8}}, [FOUR, FOUR], "8 accelerators in one machine, and the largest has 4", "pipeline"),
        ({"parallel": {"tensor": 4, "pipeline": 4}}, [FOUR, EIGHT], "needs 16 .*together have 12", "add machines"),
        ({"chips_per_replica": 1, "where": {"chips": ["H200-SXM", "H100"]}}, [L4], "1 H100 or H200.* has L4", "where"),
    ],
)
def test_replica_that_fits_nowhere_is_refused_with_what_there_is(
    changes: dict[str, Any], hosts: list[Host], complaint: str, hint: str
) -> None:
    with pytest.raises(CapacityError, match=complaint) as caught:
        need_chips(spec(**changes), hosts)
    assert hint in str(caught.value.hint)
