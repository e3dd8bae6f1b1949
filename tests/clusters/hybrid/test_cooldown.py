from __future__ import annotations

from dataclasses import dataclass

from tradewind.clusters.hybrid.cooldown import Cooldowns

SPOT, ON_DEMAND = ("west", "us-west-2", "m5.large", "spot"), ("west", "us-west-2", "m5.large", "on_demand")
ELSEWHERE = ("east", "us-east-1", "m5.large", "spot")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_what_is_sold_out_is_left_alone_and_only_for_a_while() -> None:
    clock = Clock()
    cooldowns = Cooldowns(60.0, clock)
    assert cooldowns.start(SPOT, "sold_out", "none left") == 60.0
    rest = cooldowns.rest(SPOT)
    assert rest is not None
    assert rest.reason == "none left"
    assert cooldowns.rest(ON_DEMAND) is cooldowns.rest(ELSEWHERE) is None
    clock.now += 60.0
    assert cooldowns.rest(SPOT) is None


def test_quota_is_left_alone_longer_than_stock() -> None:
    cooldowns = Cooldowns(60.0, Clock())
    assert cooldowns.start(SPOT, "over_quota", "") > cooldowns.start(ON_DEMAND, "sold_out", "")


def test_bad_credentials_take_the_whole_backend_out() -> None:
    cooldowns = Cooldowns(60.0, Clock())
    cooldowns.start(SPOT, "refused", "bad key")
    assert cooldowns.rest(ON_DEMAND) is not None
    assert cooldowns.rest(ELSEWHERE) is None
    cooldowns.end(ON_DEMAND)
    assert cooldowns.rest(SPOT) is None


def test_own_hosts_in_use_are_asked_again_at_once() -> None:
    cooldowns = Cooldowns(60.0, Clock())
    cooldowns.start(SPOT, "in_use", "all taken")
    assert cooldowns.rest(SPOT) is None
