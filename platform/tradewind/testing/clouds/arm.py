"""Azure Resource Manager of a lab, in this process and in memory.

    with start_arm("10.77.80.0/20") as arm:
        ...  # start Ray's launcher with arm.environment and PYTHONPATH=REDIRECT

Azure's clients have no setting for the endpoint, want credentials, and refuse to send them without TLS; the
`sitecustomize` in the folder `REDIRECT` changes these three things in processes that have it on their path. Every VM is
in the lab's one subnet, whatever network the template makes for it.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from tradewind.testing.clouds.arm_api import RefusalError, Subscription, answer
from tradewind.testing.clouds.machine import Machine
from tradewind.testing.clouds.weather import Weather
from tradewind.testing.loopback import Handler, serve

RESERVED = 4
"""Of the first addresses of a subnet, as on Azure's networks."""


@dataclass(frozen=True)
class Arm:
    endpoint: str
    subscription: Subscription

    @property
    def weather(self) -> Weather:
        return self.subscription.weather

    @property
    def environment(self) -> dict[str, str]:
        """The variable that leads Azure's clients here, with `REDIRECT` on the path."""
        return {"TRADEWIND_LAB_ARM": self.endpoint}

    def machines(self) -> list[Machine]:
        return self.subscription.machines()

    def interrupt(self, machine: Machine) -> None:
        """Take a machine back, as Azure does with spot VMs whose eviction policy is to deallocate."""
        with self.subscription.lock:
            held = self.subscription.resources
            self.subscription.running -= {key for key in self.subscription.running if held[key]["name"] == machine.id}


@contextmanager
def start_arm(subnet: str, *, address: str = "127.0.0.1") -> Iterator[Arm]:
    """Machines get addresses of the subnet, in order, and never twice."""
    subscription = Subscription(itertools.islice(ipaddress.IPv4Network(subnet).hosts(), RESERVED, None))

    class ArmHandler(Handler):
        def respond(self) -> None:
            body = json.loads(self.read_body() or b"{}")
            url = urlsplit(self.path)
            asked = (self.command, unquote(url.path), dict(parse_qsl(url.query)), body)
            try:
                status, content, headers = answer(subscription, *asked)
            except RefusalError as refusal:
                status, content, headers = refusal.status, refusal.content, {}
            if "Azure-AsyncOperation" in headers:
                path = headers["Azure-AsyncOperation"]
                headers["Azure-AsyncOperation"] = f"http://{self.headers['Host']}{path}"
            self.answer(status, {"Content-Type": "application/json", **headers}, json.dumps(content).encode())

    with serve(ArmHandler, address=address) as endpoint:
        yield Arm(endpoint, subscription)
