"""Google Compute Engine of a lab, in this process and in memory.

    with start_gce("10.77.64.0/20") as gce:
        ...  # start Ray's launcher with gce.environment and PYTHONPATH=REDIRECT

Google's client has no setting for the endpoints of all its services, so processes that are to come here also need the
folder `REDIRECT` on their PYTHONPATH: the `sitecustomize` in it leads every client here, with credentials that are
never checked. No machine is
checked to exist in a zone, and operations end at once.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from tradewind.testing.clouds.gce_api import Account, RefusalError, answer
from tradewind.testing.clouds.machine import Machine
from tradewind.testing.clouds.weather import Weather
from tradewind.testing.loopback import Handler, serve

RESERVED = 4
"""Of the first addresses of a subnet, as on Google's networks."""


@dataclass(frozen=True)
class Gce:
    endpoint: str
    account: Account

    @property
    def weather(self) -> Weather:
        return self.account.weather

    @property
    def environment(self) -> dict[str, str]:
        """The variable that leads Google's client here, with `REDIRECT` on the path."""
        return {"TRADEWIND_LAB_GCE": self.endpoint}

    def machines(self) -> list[Machine]:
        return self.account.machines()

    def interrupt(self, machine: Machine) -> None:
        """Take a machine back, as Google does with spot VMs: it is stopped."""
        with self.account.lock:
            self.account.instances[machine.id]["status"] = "TERMINATED"


@contextmanager
def start_gce(subnet: str, *, address: str = "127.0.0.1") -> Iterator[Gce]:
    """Machines get addresses of the subnet, in order, and never twice."""
    account = Account(itertools.islice(ipaddress.IPv4Network(subnet).hosts(), RESERVED, None))

    class GceHandler(Handler):
        def respond(self) -> None:
            body = json.loads(self.read_body() or b"{}")
            url = urlsplit(self.path)
            try:
                status, content = (
                    200,
                    answer(account, self.command, unquote(url.path), dict(parse_qsl(url.query)), body),
                )
            except RefusalError as refusal:
                status, content = refusal.status, refusal.content
            self.answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())

    with serve(GceHandler, address=address) as endpoint:
        yield Gce(endpoint, account)
