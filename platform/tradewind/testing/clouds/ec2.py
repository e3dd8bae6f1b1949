"""Amazon EC2 of a lab: moto's server in a process of its own, with machines that can be sold out, lost or taken back.

    with start_ec2({"us-west-2": "10.77.16.0/20", "us-east-1": "10.77.32.0/20"}) as ec2:
        ...  # AWS_ENDPOINT_URL=ec2.endpoint

It takes any credentials. Each region has a VPC of those addresses, with a subnet for each of three zones.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tradewind.errors import NotFoundError, StorageError
from tradewind.testing.clouds.machine import Machine
from tradewind.testing.clouds.weather import Weather
from tradewind.testing.rgw import DIE_WITH_PARENT
from tradewind.testing.servers import free_port, moto_available, running

MACHINES, WEATHER = "/lab/machines", "/lab/weather"
"""What the server answers beside Amazon's API."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@dataclass(frozen=True)
class Ec2:
    endpoint: str
    regions: tuple[str, ...]
    weather: Weather = field(default_factory=Weather)
    """Changes count from `announce` on."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead boto3 here."""
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": self.regions[0], **CREDENTIALS}

    def machines(self) -> list[Machine]:
        said = json.loads(self._ask("GET", MACHINES))
        return [Machine(**{**machine, "keys": tuple(machine["keys"])}) for machine in said]

    def announce(self) -> None:
        """Let the weather, as it is set now, begin."""
        self._ask("PUT", WEATHER, json.dumps(self.weather.to_json()).encode())

    def interrupt(self, machine: Machine) -> None:
        """Take a machine back, as Amazon does with spot instances."""
        self.client(machine.place).terminate_instances(InstanceIds=[machine.id])

    def client(self, region: str) -> Any:
        """boto3's, for EC2 in a region."""
        import boto3

        return boto3.client(
            "ec2",
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise StorageError(f"{method} {path} was answered with {answer.status}", hint="start it again")
        return text


@contextmanager
def start_ec2(regions: Mapping[str, str], *, address: str = "127.0.0.1") -> Iterator[Ec2]:
    """Raises NotFoundError without moto, StorageError when it does not start."""
    if not moto_available():
        raise NotFoundError("moto is not installed", hint="pip install 'moto[ec2,iam,server]'")
    port = free_port()
    blocks = [f"{region}={block}" for region, block in regions.items()]
    # Where Linux can, it ends with the thread that started it, so that a killed test leaves no server behind.
    leash = DIE_WITH_PARENT if shutil.which(DIE_WITH_PARENT[0]) else ()
    command = [*leash, sys.executable, "-m", "tradewind.testing.clouds.ec2_server", address, str(port), *blocks]
    # Ray's launcher attaches a policy of Amazon's own to the role that it makes.
    with running(command, port, {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}, address=address):
        yield Ec2(f"http://{address}:{port}", tuple(regions))
