"""Scaling, kills, stock-outs, outages, lost answers and new heads at random: in the end, no machine is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.autoscaler.node_launch_exception import NodeLaunchException

from tests.clusters.hybrid.conftest import Harbour, Hosts, owned
from tests.clusters.hybrid.test_provider import launch, through
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.errors import CloudError
from tradewind.testing.faults import FaultProxy, start_faults

ROUNDS = 60
STOCK = ("us-west-2 m5.large spot", "us-west-2 m5.large on_demand", "us-east-1 m5.large on_demand")


@dataclass
class Sea:
    """A cluster, its clouds, and what may happen to them. What Ray knows is what the provider lists."""

    harbour: Harbour
    proxy: FaultProxy
    settings: dict[str, Any]
    dice: random.Random
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provider: Any = HybridNodeProvider(self.settings, "harbour")

    def scale_up(self) -> None:
        ways = [
            owned("berlin-1"),
            self.harbour.west(0.1),
            self.harbour.east(0.2),
            self.harbour.west(0.3, market="on_demand"),
        ]
        ways[3]["name"] = "west-2"
        try:
            launch(self.provider, *self.dice.sample(ways, self.dice.randint(1, 4)), count=self.dice.randint(1, 4))
        except NodeLaunchException:
            self.log.append("  not all could be had")

    def scale_down(self) -> None:
        nodes = self.provider.non_terminated_nodes({})
        try:
            self.provider.terminate_nodes(self.dice.sample(nodes, self.dice.randint(0, len(nodes))))
        except CloudError:
            self.log.append("  not all could be ended")

    def kill(self) -> None:
        """Of the machines that Ray knows: those that leaked are for the sweep alone."""
        known = set(self.provider.non_terminated_nodes({}))
        machines = [one for one in self.harbour.ec2.machines() if {f"west/{one.id}", f"east/{one.id}"} & known]
        for machine in self.dice.sample(machines, self.dice.randint(0, min(2, len(machines)))):
            self.harbour.ec2.interrupt(machine)

    def sell_out(self) -> None:
        self.harbour.ec2.weather.sold_out = set(self.dice.sample(STOCK, self.dice.randint(0, 3)))
        self.harbour.ec2.announce()

    def lose_answers(self) -> None:
        self.proxy.inject("lost")
        self.proxy.inject("reset", times=self.dice.randint(0, 5))
        self.scale_up()

    def answer_wrongly(self) -> None:
        self.harbour.ec2.weather.lost_launches = self.dice.randint(1, 2)
        self.harbour.ec2.announce()
        self.scale_up()

    def restart_head(self) -> None:
        if self.dice.random() < 0.5:
            self.provider.journal.flush(10)
        self.provider = HybridNodeProvider(self.settings, "harbour")

    def look(self) -> None:
        self.provider.non_terminated_nodes({})
        self.provider.sweep()

    @property
    def deeds(self) -> list[Callable[[], None]]:
        often = [self.scale_up] * 4 + [self.scale_down] * 3 + [self.kill] * 2
        return [*often, self.sell_out, self.lose_answers, self.answer_wrongly, self.restart_head, self.look]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [7, 11])
def test_no_machine_is_left_after_chaos(harbour: Harbour, hosts: Hosts, seed: int) -> None:
    print(f"seed {seed}")
    hosts.add(*"abcd")
    with start_faults(harbour.ec2.endpoint) as proxy:
        settings = through(harbour.settings(hosts=hosts.names, cooldown_s=0.05, max_usd_per_hour=3.0), proxy)
        sea = Sea(harbour, proxy, settings, random.Random(seed))
        for number in range(ROUNDS):
            deed = sea.dice.choice(sea.deeds)
            sea.log.append(f"{number} {deed.__name__}")
            deed()
        end(sea, proxy)
    assert harbour.places() == [], sea.log
    assert [hosts.lease(name) for name in hosts.names] == [""] * 4, sea.log


def end(sea: Sea, proxy: FaultProxy) -> None:
    """A fine day: the sweep ends what nobody knows, and Ray ends what it knows."""
    proxy._injected.clear()
    sea.harbour.ec2.weather.lost_launches = 0
    sea.sell_out()
    sea.provider.sweep()
    known = {node.partition("/")[2] for node in sea.provider.non_terminated_nodes({})}
    assert {machine.id for machine in sea.harbour.ec2.machines()} <= known, sea.log
    assert sea.provider.usd_per_hour() <= 3.0 + 1e-6
    sea.provider.terminate_nodes(sea.provider.non_terminated_nodes({}))
