from __future__ import annotations

from typing import Any

import pytest

from tradewind.clusters.overlay.node_files import MARKET
from tradewind.errors import CapacityError
from tradewind.serving.hosts import Host
from tradewind.serving.markets import need_markets
from tradewind.specs import ServeSpec

CPU = {"CPU": 4.0}
OWN, SPOT = Host(CPU, {MARKET: "owned"}), Host(CPU, {MARKET: "spot"})
UNSAID, HEAD = Host(CPU, {"ray.io/node-id": "a"}), Host({}, {"ray.io/node-id": "b"})
TO_COME = Host(CPU)
BOTH = {"replicas": 2, "base": 1, "burst": "spot"}


def spec(**changes: Any) -> ServeSpec:
    return ServeSpec.of(name="chat", model="pilot", **changes)


@pytest.mark.parametrize(
    ("changes", "hosts"),
    [
        (BOTH, [OWN, SPOT]),
        (BOTH, [UNSAID, SPOT]),
        (BOTH, [TO_COME]),
        ({"replicas": 2, "base": 2, "burst": "spot"}, [OWN]),
        ({"replicas": 2}, [SPOT]),
    ],
)
def test_machines_of_each_market_that_is_asked_for_are_enough(changes: dict[str, Any], hosts: list[Host]) -> None:
    need_markets(spec(**changes), hosts)


@pytest.mark.parametrize(
    ("hosts", "complaint", "hint"),
    [
        ([HEAD, SPOT], "the base of 'chat' .* none but spot", "leave base out"),
        ([UNSAID, OWN], "replicas of 'chat' are to lie on spot machines", f"--labels {MARKET}=spot"),
    ],
)
def test_market_without_machines_is_refused(hosts: list[Host], complaint: str, hint: str) -> None:
    with pytest.raises(CapacityError, match=complaint) as caught:
        need_markets(spec(**BOTH), hosts)
    assert hint in str(caught.value.hint)
