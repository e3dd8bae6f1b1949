"""What a lab's Azure Resource Manager answers: resources by id, deployments of templates, and machines.

Deployments end at once. One that fails leaves what it made before it failed, as Azure's do, and a machine that could
not be allocated without a power state.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.testing.clouds.arm_template import Scope, outputs, resources, scope_of
from tradewind.testing.clouds.machine import Machine
from tradewind.testing.clouds.weather import Weather

Json = dict[str, Any]
MACHINE = "microsoft.compute/virtualmachines"
SOLD_OUT = "AllocationFailed"
"""https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure."""


class RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.content = status, code, {"error": {"code": code, "message": message}}


@dataclass
class Subscription:
    """Resources by id in lower case, since Azure does not tell cases apart."""

    addresses: Iterator[ipaddress.IPv4Address]
    weather: Weather = field(default_factory=Weather)
    groups: dict[str, Json] = field(default_factory=dict)
    resources: dict[str, Json] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    """Ids of the machines that are not deallocated."""

    deployments: dict[str, str] = field(default_factory=dict)
    """How they went, by id."""
    operations: dict[str, Json] = field(default_factory=dict)
    count: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def machines(self) -> list[Machine]:
        with self.lock:
            return [self._machine(key) for key in sorted(self.running)]

    def find(self, name: str) -> Json:
        """The properties of a resource, by id or by name."""
        found = self.resources.get(name.lower()) or next(
            resource for resource in self.resources.values() if resource["name"].lower() == name.lower()
        )
        properties: Json = found["properties"]
        return properties

    def _machine(self, key: str) -> Machine:
        machine = self.resources[key]
        properties = machine["properties"]
        interface = self.find(properties["networkProfile"]["networkInterfaces"][0]["id"])
        keys = properties["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
        return Machine(
            id=machine["name"],
            address=interface["ipConfigurations"][0]["properties"]["privateIPAddress"],
            type=properties["hardwareProfile"]["vmSize"],
            market=_market(properties),
            place=machine["location"],
            keys=tuple(each["keyData"] for each in keys),
        )


@dataclass(frozen=True)
class Call:
    subscription: Subscription
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Json

    @property
    def group(self) -> Json:
        found = self.subscription.groups.get(self.names["group"].lower())
        if found is None:
            raise RefusalError(404, "ResourceGroupNotFound", f"Resource group '{self.names['group']}' was not found.")
        return found


Answer = tuple[int, Json, dict[str, str]]
"""Status, body, headers."""


def answer(subscription: Subscription, method: str, path: str, query: Mapping[str, str], body: Json) -> Answer:
    """Raises RefusalError where Azure answers with an error."""
    if not subscription.weather.answers():
        raise RefusalError(503, "ServerUnavailable", "The server is currently unavailable.")
    for verb, pattern, act in ROUTES:
        found = re.fullmatch(pattern, path, re.IGNORECASE)
        if verb == method and found:
            with subscription.lock:
                return act(Call(subscription, path, found.groupdict(), query, body))
    raise RefusalError(501, "NotImplemented", f"this stand-in has no {method} {path}")


def _put_group(call: Call) -> Answer:
    name = call.names["group"]
    group = {**call.body, "id": call.path, "name": name, "properties": {"provisioningState": "Succeeded"}}
    call.subscription.groups[name.lower()] = group
    return 200, group, {}


def _deploy(call: Call) -> Answer:
    wanted = call.body["properties"]
    template, group = wanted["template"], call.group
    try:
        scope = scope_of(
            template,
            wanted["parameters"],
            group=group["id"],
            location=group["location"],
            find=call.subscription.find,
        )
    except ValueError as exc:
        raise RefusalError(400, "InvalidTemplate", f"Deployment template validation failed: {exc}") from exc
    made = {"id": call.path, "name": call.names["name"]}
    call.subscription.deployments[call.path.lower()] = "Failed"
    try:
        for resource in resources(template, scope):
            _make(call.subscription, scope, resource)
    except RefusalError as refusal:
        return 201, {**made, "properties": {"provisioningState": "Running"}}, _operation(call, _failed(refusal))
    if MACHINE in {resource["type"].lower() for resource in template["resources"]} and (
        call.subscription.weather.loses_launch(group["location"])
    ):
        raise RefusalError(500, "InternalServerError", "Encountered internal server error.")
    call.subscription.deployments[call.path.lower()] = "Succeeded"
    return 200, {**made, "properties": {"provisioningState": "Succeeded", "outputs": outputs(template, scope)}}, {}


def _get_deployment(call: Call) -> Answer:
    state = call.subscription.deployments.get(call.path.lower())
    if state is None:
        raise RefusalError(404, "DeploymentNotFound", f"Deployment '{call.names['name']}' could not be found.")
    return 200, {"id": call.path, "name": call.names["name"], "properties": {"provisioningState": state}}, {}


def _make(subscription: Subscription, scope: Scope, wanted: Json) -> None:
    kind = wanted["type"].lower()
    key = f"{scope.group}/providers/{wanted['type']}/{wanted['name']}"
    resource = {"location": scope.location, **wanted, "id": key, "properties": dict(wanted.get("properties", {}))}
    resource["properties"]["provisioningState"] = "Succeeded"
    if kind in COMPLETIONS:
        COMPLETIONS[kind](subscription, resource)
    subscription.resources[key.lower()] = resource


def _complete_identity(_subscription: Subscription, resource: Json) -> None:
    resource["properties"]["principalId"] = str(uuid.uuid5(uuid.NAMESPACE_OID, resource["id"]))


def _complete_network(_subscription: Subscription, resource: Json) -> None:
    for subnet in resource["properties"]["subnets"]:
        subnet["id"] = f"{resource['id']}/subnets/{subnet['name']}"


def _complete_interface(subscription: Subscription, resource: Json) -> None:
    """A public address is the private one, as a lab has one network."""
    for each in resource["properties"]["ipConfigurations"]:
        address = each["properties"]["privateIPAddress"] = str(next(subscription.addresses))
        public = each["properties"].pop("publicIpAddress", None)  # as Ray's template has it, and Azure not
        if public is not None:
            each["properties"]["publicIPAddress"] = public
            subscription.find(public["id"])["ipAddress"] = address


def _complete_machine(subscription: Subscription, resource: Json) -> None:
    properties, name = resource["properties"], resource["name"]
    size = properties["hardwareProfile"]["vmSize"]
    if not subscription.weather.has(resource["location"], size, _market(properties)):
        properties["provisioningState"] = "Failed"
        subscription.resources[resource["id"].lower()] = resource
        raise RefusalError(409, SOLD_OUT, f"Allocation failed: there is not enough capacity for {size} in this region.")
    disk = f"{resource['id'].lower().split('/providers/')[0]}/providers/{DISK}/{name}-disk"
    properties["storageProfile"]["osDisk"]["name"] = f"{name}-disk"
    subscription.resources[disk.lower()] = {"id": disk, "name": f"{name}-disk", "type": DISK, "properties": {}}
    subscription.running.add(resource["id"].lower())


def _market(properties: Json) -> str:
    return "spot" if properties.get("priority") == "Spot" else "on_demand"


def _failed(refusal: RefusalError) -> Json:
    details = [{"code": refusal.code, "message": str(refusal)}]
    message = "At least one resource deployment operation failed."
    return {"status": "Failed", "error": {"code": "DeploymentFailed", "message": message, "details": details}}


def _operation(call: Call, outcome: Json) -> dict[str, str]:
    """How a client is told where to ask for the outcome of what takes its time."""
    name = f"operation-{next(call.subscription.count)}"
    call.subscription.operations[name] = outcome
    return {
        "Azure-AsyncOperation": f"/subscriptions/{call.names['subscription']}/operations/{name}",
        "Retry-After": "0",
    }


def _get_operation(call: Call) -> Answer:
    return 200, call.subscription.operations[call.names["name"]], {}


def _list(call: Call) -> Answer:
    """Of the filters the two that Ray uses: the type, and a part of the name."""
    group, text = call.group, call.query.get("$filter", "")
    kind = re.search(r"resourceType eq '([^']+)'", text)
    part = re.search(r"substringof\('([^']+)', name\)", text)
    found = [
        resource
        for key, resource in call.subscription.resources.items()
        if key.startswith(f"{group['id'].lower()}/")
        and (kind is None or resource["type"].lower() == kind[1].lower())
        and (part is None or part[1] in resource["name"])
    ]
    return 200, {"value": found}, {}


def _list_machines(call: Call) -> Answer:
    prefix = f"{call.group['id']}/providers/{MACHINE}/".lower()
    held = call.subscription.resources
    return 200, {"value": [held[key] for key in held if key.startswith(prefix)]}, {}


def _get(call: Call) -> Answer:
    return 200, _held(call), {}


def _patch(call: Call) -> Answer:
    resource = _held(call)
    resource["tags"] = call.body["tags"]
    return 200, resource, {}


def _delete(call: Call) -> Answer:
    key = call.path.lower()
    if key not in call.subscription.resources:
        return 204, {}, {}
    call.subscription.resources.pop(key)
    call.subscription.running.discard(key)
    return 200, {}, {}


def _delete_subnet(call: Call) -> Answer:
    network = call.subscription.resources.get(call.names["network"].lower())
    if network is None:
        return 204, {}, {}
    kept = [each for each in network["properties"]["subnets"] if each["id"].lower() != call.path.lower()]
    network["properties"]["subnets"] = kept
    return 200, {}, {}


def _view(call: Call) -> Answer:
    held = _held(call)
    if held["properties"]["provisioningState"] == "Failed":
        return 200, {"statuses": [{"code": f"ProvisioningState/failed/{SOLD_OUT}", "level": "Error"}]}, {}
    key = held["id"].lower()
    state = "running" if key in call.subscription.running else "deallocated"
    codes = ("ProvisioningState/succeeded", f"PowerState/{state}")
    return 200, {"statuses": [{"code": code, "level": "Info"} for code in codes]}, {}


def _start(call: Call) -> Answer:
    call.subscription.running.add(_held(call)["id"].lower())
    return 200, {}, {}


def _deallocate(call: Call) -> Answer:
    call.subscription.running.discard(_held(call)["id"].lower())
    return 200, {}, {}


def _held(call: Call) -> Json:
    key = call.names.get("id", call.path).lower()
    if key not in call.subscription.resources:
        raise RefusalError(404, "ResourceNotFound", f"The Resource '{key}' was not found.")
    return call.subscription.resources[key]


def _nothing(call: Call) -> Answer:
    return 200, {"value": [], "namespace": call.names.get("name"), "resourceTypes": []}, {}


DISK = "Microsoft.Compute/disks"
COMPLETIONS: dict[str, Callable[[Subscription, Json], None]] = {
    "microsoft.managedidentity/userassignedidentities": _complete_identity,
    "microsoft.network/virtualnetworks": _complete_network,
    "microsoft.network/networkinterfaces": _complete_interface,
    MACHINE: _complete_machine,
}
OWN = r"/subscriptions/(?P<subscription>[^/]+)"
GROUP = OWN + r"/resourceGroups/(?P<group>[^/]+)"
DEPLOYMENT = GROUP + "/providers/Microsoft.Resources/deployments/(?P<name>[^/]+)"
MACHINES = GROUP + "/providers/Microsoft.Compute/virtualMachines"
ID = GROUP + r"/providers/[^/]+/[^/]+/[^/]+"
ROUTES: tuple[tuple[str, str, Callable[[Call], Answer]], ...] = (
    ("PUT", GROUP, _put_group),
    ("PUT", DEPLOYMENT, _deploy),
    ("GET", DEPLOYMENT, _get_deployment),
    ("GET", OWN + "/operations/(?P<name>[^/]+)", _get_operation),
    ("GET", OWN + "/providers/(?P<name>[^/]+)", _nothing),
    ("GET", OWN + "/providers/Microsoft.Compute/skus", _nothing),
    ("GET", GROUP + "/resources", _list),
    ("GET", MACHINES, _list_machines),
    ("GET", f"(?P<id>{ID})/instanceView", _view),
    ("POST", f"(?P<id>{ID})/start", _start),
    ("POST", f"(?P<id>{ID})/deallocate", _deallocate),
    ("DELETE", f"(?P<network>{ID})/subnets/[^/]+", _delete_subnet),
    ("GET", ID, _get),
    ("PATCH", ID, _patch),
    ("DELETE", ID, _delete),
)
