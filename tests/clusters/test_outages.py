from __future__ import annotations

import json
import shlex

import pytest

from tradewind.clusters.outages import outage_flag
from tradewind.clusters.overlay.environment import HEALTH_CHECK_FAILURES

CHECK_S = 13.0
"""One failed health check of Ray: 3 s of pause and a time-out of 10 s."""


def seconds(*, far: bool) -> dict[str, float]:
    (word,) = shlex.split(outage_flag(far=far))
    name, _, text = word.partition("=")
    assert name == "--system-config"
    return {key: value / 1000 for key, value in json.loads(text).items()}


def test_ray_knows_what_it_is_told() -> None:
    config = pytest.importorskip("ray._raylet").Config
    for key in seconds(far=True):
        assert callable(getattr(config, key))


@pytest.mark.parametrize(("far", "failures"), [(False, 5), (True, HEALTH_CHECK_FAILURES)])
def test_processes_give_a_node_up_when_the_head_does(far: bool, failures: int) -> None:
    told = seconds(far=far)
    longest_s = told["grpc_client_keepalive_time_ms"] + told["grpc_client_keepalive_timeout_ms"]
    assert longest_s <= failures * CHECK_S
    assert longest_s > (failures - 2) * CHECK_S


def test_outage_of_90_s_between_networks_is_outlasted() -> None:
    assert seconds(far=True)["grpc_client_keepalive_timeout_ms"] > 90
