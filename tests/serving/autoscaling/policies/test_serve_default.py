"""The twin beside Ray's own functions, which are called as Serve's controller calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.autoscaling.samples import busy, signals
from tradewind.serving.autoscaling import Limits
from tradewind.serving.autoscaling.policies.serve_default import ServeDefault

looks = st.lists(
    st.tuples(st.floats(0.1, 20.0), st.integers(0, 6), st.floats(0.0, 40.0)), min_size=1, max_size=40
)  # seconds since the last look, replicas that run, mean number of requests


@given(
    seen=looks,
    up_delay_s=st.sampled_from([0.0, 5.0, 30.0]),
    down_delay_s=st.sampled_from([0.0, 20.0, 600.0]),
    up_factor=st.sampled_from([0.5, 1.0, 2.0]),
    down_factor=st.sampled_from([0.3, 1.0]),
)
def test_twin_decides_as_ray_does(
    seen: list[tuple[float, int, float]], up_delay_s: float, down_delay_s: float, up_factor: float, down_factor: float
) -> None:
    config = _config(up_delay_s, down_delay_s, up_factor, down_factor)
    twin = ServeDefault(
        Limits(min=0, max=50),
        target_ongoing=2.0,
        up_delay_s=up_delay_s,
        down_delay_s=down_delay_s,
        up_factor=up_factor,
        down_factor=down_factor,
    )
    time_s, target, state = 1000.0, 1, dict[str, Any]()
    for gap_s, running, requests in seen:
        time_s += gap_s
        theirs, state = _ray(config, state, time_s, running, target, requests)
        ours, _ = twin.wanted(time_s, running, target, requests)
        assert ours == theirs
        target = theirs


def test_defaults_are_those_of_ray() -> None:
    config_module = pytest.importorskip("ray.serve.config")
    config, twin = config_module.AutoscalingConfig(), ServeDefault(Limits())
    assert (twin.target_ongoing, twin.look_back_s, twin.push_s) == (
        config.get_target_ongoing_requests(), config.look_back_period_s, config.metrics_interval_s,
    )  # fmt: skip
    assert (twin.up_delay_s, twin.down_delay_s) == (config.upscale_delay_s, config.downscale_delay_s)
    assert config.downscale_to_zero_delay_s is None
    assert twin.to_zero_delay_s == twin.down_delay_s


def test_mean_is_of_what_was_pushed() -> None:
    twin = ServeDefault(Limits(), target_ongoing=4.0, up_delay_s=0.0, look_back_s=20.0, push_s=10.0)
    targets = [twin.decide(signals(second, busy(8 if second > 5 else 0), target=1)).target for second in range(21)]
    assert targets[9] == 1  # pushed at 0, and not since
    assert targets[20] == 2


def _config(up_delay_s: float, down_delay_s: float, up_factor: float, down_factor: float) -> Any:
    config_module = pytest.importorskip("ray.serve.config")
    return config_module.AutoscalingConfig(
        min_replicas=0,
        max_replicas=50,
        target_ongoing_requests=2.0,
        upscale_delay_s=up_delay_s,
        downscale_delay_s=down_delay_s,
        upscaling_factor=up_factor,
        downscaling_factor=down_factor,
    )


def _ray(
    config: Any, state: dict[str, Any], time_s: float, running: int, target: int, requests: float
) -> tuple[int, dict[str, Any]]:
    """One round of `_apply_autoscaling_config`, at a time of ours."""
    from ray.serve import autoscaling_policy as ray

    ctx: Any = SimpleNamespace(
        current_num_replicas=running,
        target_num_replicas=target,
        total_num_requests=requests,
        config=config,
        policy_state=state,
    )
    cold = ray._get_cold_start_scale_up_replicas(ctx)
    if cold is not None:
        return cold, state
    desired, _ = ray._core_replica_queue_length_policy(ctx)
    scaled = ray._apply_scaling_factors(desired, running, config)
    if running == 0 and scaled > 0:
        return scaled, state
    return ray._apply_delay_logic(max(0, scaled), target, config, state, _now=time_s)
