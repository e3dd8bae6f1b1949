"""Machines that a stand-in for a cloud has rented out, and the hosts that follow them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from tradewind.testing.clouds.hosts import Hosts

POLL_S = 0.1


@dataclass(frozen=True)
class Machine:
    """One that runs, or is about to."""

    id: str
    address: str
    type: str
    market: str
    """`spot` or `on_demand`."""

    place: str
    """A region or zone, as the cloud calls it."""

    keys: tuple[str, ...] = ()
    """Public SSH keys of those who may log in."""

    user_data: str = field(default="", repr=False)
    """What cloud-init reads on it."""


class Cloud(Protocol):
    def machines(self) -> Sequence[Machine]:
        """What runs now, and costs."""
        ...


@dataclass
class Follower:
    """Keeps one host for each machine of some clouds, at the machine's address."""

    hosts: Hosts
    clouds: Sequence[Cloud]
    environment: Mapping[str, str]
    booted: dict[str, Machine]
    """By address, those that have a host now."""

    on_boot: Callable[[Machine], object]

    def step(self) -> None:
        wanted = {machine.address: machine for cloud in self.clouds for machine in cloud.machines()}
        for address, machine in list(self.booted.items()):
            if wanted.get(address) != machine:
                del self.booted[address]
                self.hosts.kill(address)
        for address, machine in wanted.items():
            if address not in self.booted:
                self.hosts.boot(address, keys=machine.keys, environment=self.environment, user_data=machine.user_data)
                self.booted[address] = machine
                self.on_boot(machine)


@contextmanager
def follow(
    hosts: Hosts,
    *clouds: Cloud,
    environment: Mapping[str, str] | None = None,
    on_boot: Callable[[Machine], object] = lambda _machine: None,
) -> Iterator[Follower]:
    """While the block runs, boot a host for each machine that a cloud starts, and kill it when the machine ends."""
    follower = Follower(hosts, clouds, dict(environment or {}), {}, on_boot)
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(POLL_S):
            with suppress(ConnectionError):  # a cloud that is being stopped
                follower.step()

    thread = threading.Thread(target=loop, name="follow", daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        ended.set()
        thread.join()
        for address in list(follower.booted):
            hosts.kill(address)
