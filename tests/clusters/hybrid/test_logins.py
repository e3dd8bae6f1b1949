from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.clusters.hybrid.conftest import Hosts
from tradewind.clusters.hybrid.leases import Login
from tradewind.clusters.hybrid.logins import LONGEST_S, REFUSED_S, WAITING, Logins, Way

NODE = "west/i-1"


@dataclass
class Watch:
    now: float = 1000.0
    told: list[tuple[str, str]] = field(default_factory=list)

    def logins(self, host: str | None = "a") -> Logins:
        logins = Logins(lambda node, reason: self.told.append((node, reason)), lambda: self.now)
        logins.reach(NODE, Way(Login("ray", None, None, 10.0), lambda: host))
        return logins


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_key_that_is_refused_after_the_boot_ends_the_wait_with_the_reason(watch: Watch, hosts: Hosts) -> None:
    hosts.add("a")
    hosts.deny("a")
    logins = watch.logins()
    logins.status(NODE, WAITING)
    watch.now += REFUSED_S
    assert not logins.is_given_up(NODE)
    assert hosts.log("a") == "", "nobody asks before"
    watch.now += 1
    assert logins.is_given_up(NODE)
    assert logins.is_given_up(NODE)
    ((node, reason),) = watch.told
    assert node == NODE
    assert "cannot log in to ray@a: a: Permission denied" in reason or "Permission denied" in reason


def test_machine_that_still_boots_is_waited_for(watch: Watch, hosts: Hosts) -> None:
    logins = watch.logins(host=None)
    logins.status(NODE, WAITING)
    for _ in range(14):
        watch.now += LONGEST_S / 15
        assert not logins.is_given_up(NODE)
    watch.now += LONGEST_S / 5
    assert logins.is_given_up(NODE)
    assert watch.told == [(NODE, "nobody could log in within 340 s")]


def test_machine_that_lets_us_in_is_left_to_ray(watch: Watch, hosts: Hosts) -> None:
    hosts.add("a")
    logins = watch.logins()
    logins.status(NODE, WAITING)
    watch.now += REFUSED_S + 1
    assert not logins.is_given_up(NODE)
    logins.status(NODE, "setting-up")
    watch.now += 10 * LONGEST_S
    assert not logins.is_given_up(NODE)
    assert watch.told == []


def test_node_that_is_set_up_again_gets_its_full_time_again(watch: Watch, hosts: Hosts) -> None:
    logins = watch.logins(host=None)
    logins.status(NODE, WAITING)
    watch.now += LONGEST_S + 1
    assert logins.is_given_up(NODE)
    logins.status(NODE, WAITING)
    assert not logins.is_given_up(NODE)
