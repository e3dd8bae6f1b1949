"""The process behind `start_ec2`: moto's server with a weather, and with one subnet a zone on the lab's network.

    python -m tradewind.testing.clouds.ec2_server ADDRESS PORT REGION=BLOCK…

Beside Amazon's API it answers `GET /lab/machines` and takes `PUT /lab/weather`. It differs from moto in four ways: it
runs as many instances as are asked for at most, as EC2 does, where moto runs the least; a type can be sold out; an
answer can be lost after the instances were made; and a public address is the private one, as a lab has one network.
"""

from __future__ import annotations

import ipaddress
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tradewind.testing.clouds.ec2 import MACHINES, WEATHER
from tradewind.testing.clouds.weather import Weather

ZONES = "abc"
ACCOUNT = "123456789012"
RAY_PROFILE = "ray-autoscaler-v1"
REGION = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")
RUNNING = {"pending", "running"}
OVERLOADED = (
    b"<Response><Errors><Error><Code>Unavailable</Code>"
    b"<Message>The server is overloaded.</Message></Error></Errors></Response>"
)
"""One of EC2's own, with status 503: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html."""

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    address, port, *blocks = sys.argv[1:]
    regions = dict(block.split("=") for block in blocks)
    weather = Weather()
    _obey(weather)
    _make_profile()
    for region, block in regions.items():
        _lay_out(region, ipaddress.IPv4Network(block))
    app = _with_lab(DomainDispatcherApplication(create_backend_app), weather, list(regions))
    run_simple(address, int(port), app, threaded=True, request_handler=MotoRequestHandler)


def _obey(weather: Weather) -> None:
    from moto.ec2.exceptions import EC2ClientError
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface
    from moto.ec2.models.instances import InstanceBackend
    from moto.ec2.responses.instances import InstanceResponse

    run, read = InstanceBackend.run_instances, InstanceResponse._get_param
    publish = NetworkInterface.check_auto_public_ip

    def run_instances(backend: Any, image_id: str, count: int, *arguments: Any, **named: Any) -> Any:
        market = "spot" if named.get("instance_market_options") else "on_demand"
        if not weather.has(backend.region_name, named["instance_type"], market):
            raise EC2ClientError("InsufficientInstanceCapacity", f"No {named['instance_type']} in this zone.")
        made = run(backend, image_id, count, *arguments, **named)
        if weather.loses_launch(backend.region_name):
            raise EC2ClientError("InternalError", "An internal error has occurred.")
        return made

    def _get_param(response: Any, name: str, *arguments: Any, **named: Any) -> Any:
        return read(response, "MaxCount" if name == "MinCount" else name, *arguments, **named)

    def check_auto_public_ip(interface: Any) -> None:
        publish(interface)
        interface.public_ip = interface.public_ip and interface.private_ip_address

    for owner, altered in (
        (NetworkInterface, check_auto_public_ip),
        (InstanceBackend, run_instances),
        (InstanceResponse, _get_param),
    ):
        setattr(owner, altered.__name__, altered)


def _make_profile() -> None:
    """The role that Ray's launcher gives to heads. When it makes one, it waits twice 15 s for Amazon to know it."""
    from moto.backends import get_backend

    iam = get_backend("iam")[ACCOUNT]["aws"]
    iam.create_role(RAY_PROFILE, "{}", "/", None, "", [], None)
    iam.create_instance_profile(RAY_PROFILE, "/", [RAY_PROFILE])


def _lay_out(region: str, network: ipaddress.IPv4Network) -> None:
    """Replace the default VPC's subnets, which are the same in all regions, by some on the lab's network."""
    backend = _backend(region)
    for subnet in backend.describe_subnets():
        backend.delete_subnet(subnet.id)
    vpc = backend.create_vpc(str(network))
    for zone, block in zip(ZONES, network.subnets(prefixlen_diff=2), strict=False):
        subnet = backend.create_subnet(vpc.id, str(block), availability_zone=f"{region}{zone}")
        backend.modify_subnet_attribute(subnet.id, "map_public_ip_on_launch", True)


def _with_lab(app: Any, weather: Weather, regions: list[str]) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    def answer(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == MACHINES:
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps([machine for region in regions for machine in _machines(region)]).encode()]
        if environ["PATH_INFO"] == WEATHER:
            weather.change(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            start("204 No Content", [])
            return []
        if not weather.answers(_region(environ)):
            start("503 Service Unavailable", [("Content-Type", "text/xml")])
            return [OVERLOADED]
        answered: Iterable[bytes] = app(environ, start)
        return answered

    return answer


def _region(environ: Environ) -> str:
    """Of a request, as its signature names it."""
    found = REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else ""


def _machines(region: str) -> Iterator[dict[str, Any]]:
    backend = _backend(region)
    for instance in list(backend.all_instances()):
        if instance.state in RUNNING:
            key = backend.key_pairs.get(instance.key_name)
            yield {
                "id": instance.id,
                "address": instance.private_ip,
                "type": instance.instance_type,
                "market": "spot" if instance.lifecycle == "spot" else "on_demand",
                "place": region,
                "keys": [key.material_public.decode()] if key else [],
                "user_data": instance.user_data.decode() if instance.user_data else "",
            }


def _backend(region: str) -> Any:
    from moto.backends import get_backend

    return get_backend("ec2")[ACCOUNT][region]


if __name__ == "__main__":
    main()
