"""What a lab's Compute Engine answers: the part of Google's APIs with which Ray's provider rents and returns machines.

Compute v1 (projects, instances, operations, subnetworks), and as much of Resource Manager v1 and IAM v1 as it takes to
find a project and to make a service account. Labels and fingerprints are checked as Google checks them.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradewind.testing.clouds.machine import Machine
from tradewind.testing.clouds.weather import Weather

Json = dict[str, Any]

LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
"""https://cloud.google.com/compute/docs/labeling-resources#requirements, of its letters the ASCII ones."""

RUNNING = {"PROVISIONING", "STAGING", "RUNNING"}


class RefusalError(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = {
            "error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        }


@dataclass
class Account:
    """All that a project holds. Addresses of machines come from one block, whatever the region."""

    addresses: Iterator[ipaddress.IPv4Address]
    weather: Weather = field(default_factory=Weather)
    metadata: Json = field(default_factory=lambda: {"fingerprint": "0", "items": []})
    instances: dict[str, Json] = field(default_factory=dict)
    operations: dict[str, Json] = field(default_factory=dict)
    service_accounts: dict[str, Json] = field(default_factory=dict)
    policy: Json = field(default_factory=lambda: {"bindings": [], "etag": "0"})
    count: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def machines(self) -> list[Machine]:
        with self.lock:
            return [self._machine(instance) for instance in self.instances.values() if instance["status"] in RUNNING]

    def _machine(self, instance: Json) -> Machine:
        return Machine(
            id=instance["name"],
            address=instance["networkInterfaces"][0]["networkIP"],
            type=_last(instance["machineType"]),
            market=market_of(instance),
            place=_last(instance["zone"]),
            keys=tuple(_keys(self.metadata) + _keys(instance.get("metadata", {}))),
            user_data="".join(_values(instance.get("metadata", {}), "user-data")),
        )


@dataclass(frozen=True)
class Call:
    account: Account
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Json


def answer(account: Account, method: str, path: str, query: Mapping[str, str], body: Json) -> Json:
    """Raises RefusalError where Google answers with an error."""
    if not account.weather.answers():
        raise RefusalError(503, "backendError", "The service is currently unavailable.")
    for verb, pattern, act in ROUTES:
        found = re.fullmatch(pattern, path)
        if verb == method and found:
            with account.lock:
                return act(Call(account, found.groupdict(), query, body))
    raise RefusalError(501, "notImplemented", f"this stand-in has no {method} {path}")


def market_of(instance: Json) -> str:
    """`scheduling` is a list with one entry in files that Ray's documents show, and an object in Google's."""
    scheduling = instance.get("scheduling") or {}
    scheduling = scheduling[0] if isinstance(scheduling, list) else scheduling
    is_spot = scheduling.get("preemptible") or scheduling.get("provisioningModel") == "SPOT"
    return "spot" if is_spot else "on_demand"


def _project(call: Call) -> Json:
    return {"name": call.names["project"], "commonInstanceMetadata": call.account.metadata}


def _set_metadata(call: Call) -> Json:
    held = call.account.metadata
    _check_fingerprint(held["fingerprint"], call.body.get("fingerprint"))
    held.update(call.body, fingerprint=str(next(call.account.count)))
    return _done(call)


def _subnetworks(call: Call) -> Json:
    link = f"projects/{call.names['project']}/regions/{call.names['region']}/subnetworks/default"
    return {"items": [{"name": "default", "selfLink": link}]}


def _insert(call: Call) -> Json:
    account, body, zone = call.account, call.body, call.names["zone"]
    _check_labels(body.get("labels", {}))
    if body["name"] in account.instances:
        raise RefusalError(409, "alreadyExists", f"The resource '{body['name']}' already exists")
    kind, market = _last(body["machineType"]), market_of(body)
    if not account.weather.has(zone, kind, market):
        return _done(call, error=_exhausted(zone, kind))
    address = str(next(account.addresses))
    account.instances[body["name"]] = {
        **body,
        "id": str(next(account.count)),
        "status": "RUNNING",
        "zone": f"projects/{call.names['project']}/zones/{zone}",
        "labelFingerprint": "0",
        "networkInterfaces": [{"networkIP": address, "accessConfigs": [{"natIP": address}]}],
    }
    if account.weather.loses_launch(zone):
        raise RefusalError(503, "backendError", "Backend Error")
    return _done(call)


def _exhausted(zone: str, kind: str) -> Json:
    """A sold-out zone is told by the operation, after the request was taken."""
    message = f"The zone '{zone}' does not have enough resources available to fulfill the request for {kind}."
    return {"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": message}]}


def _list(call: Call) -> Json:
    here = (instance for instance in call.account.instances.values() if _last(instance["zone"]) == call.names["zone"])
    return {"items": [instance for instance in here if _fits(instance, call.query.get("filter", ""))]}


def _fits(instance: Json, expression: str) -> bool:
    """Of Google's language what Ray uses: statuses joined by OR, labels joined by AND, labels that must not be."""
    statuses = re.findall(r"status = (\w+)", expression)
    wanted = re.findall(r"labels\.([\w-]+) = ([\w-]*)", expression)
    unwanted = re.findall(r"NOT labels\.([\w-]+):\*", expression)
    labels = instance.get("labels", {})
    return (
        (not statuses or instance["status"] in statuses)
        and all(labels.get(key) == value for key, value in wanted)
        and not any(key in labels for key in unwanted)
    )


def _get(call: Call) -> Json:
    name = call.names["instance"]
    if name not in call.account.instances:
        raise RefusalError(404, "notFound", f"The resource '{name}' was not found")
    return call.account.instances[name]


def _set_labels(call: Call) -> Json:
    instance = _get(call)
    _check_labels(call.body["labels"])
    _check_fingerprint(instance["labelFingerprint"], call.body.get("labelFingerprint"))
    instance.update(labels=call.body["labels"], labelFingerprint=str(next(call.account.count)))
    return _done(call)


def _stop(call: Call) -> Json:
    _get(call)["status"] = "TERMINATED"
    return _done(call)


def _start(call: Call) -> Json:
    _get(call)["status"] = "RUNNING"
    return _done(call)


def _delete(call: Call) -> Json:
    del call.account.instances[_get(call)["name"]]
    return _done(call)


def _operation(call: Call) -> Json:
    name = call.names["operation"]
    if name not in call.account.operations:
        raise RefusalError(404, "notFound", f"The resource '{name}' was not found")
    return call.account.operations[name]


def _crm_project(call: Call) -> Json:
    name = call.names["project"]
    return {"projectId": name, "name": name, "lifecycleState": "ACTIVE"}


def _get_policy(call: Call) -> Json:
    return call.account.policy


def _set_policy(call: Call) -> Json:
    call.account.policy.update(call.body["policy"])
    return call.account.policy


def _service_account(call: Call) -> Json:
    email = call.names["email"]
    if email not in call.account.service_accounts:
        raise RefusalError(404, "notFound", f"Unknown service account {email}")
    return call.account.service_accounts[email]


def _make_service_account(call: Call) -> Json:
    project = call.names["project"]
    email = f"{call.body['accountId']}@{project}.iam.gserviceaccount.com"
    return call.account.service_accounts.setdefault(email, {"email": email, "projectId": project, "name": email})


def _done(call: Call, error: Json | None = None) -> Json:
    """An operation that has come to its end, as all here have when they are asked for."""
    name = f"operation-{next(call.account.count)}"
    operation = {
        "name": name,
        "status": "DONE",
        "zone": call.names.get("zone", ""),
        **({"error": error} if error else {}),
    }
    call.account.operations[name] = operation
    return {"name": name, "status": "RUNNING", "zone": operation["zone"]}


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise RefusalError(400, "invalid", f"Invalid value for field 'resource.labels': '{key}={value}'")


def _check_fingerprint(held: str, given: str | None) -> None:
    if given != held:
        raise RefusalError(412, "conditionNotMet", "Supplied fingerprint does not match current fingerprint.")


def _keys(metadata: Json) -> list[str]:
    """`USER:KEY` a line."""
    lines = [value.splitlines() for value in _values(metadata, "ssh-keys")]
    return [line.split(":", 1)[1] for line in itertools.chain(*lines) if ":" in line]


def _values(metadata: Json, key: str) -> list[str]:
    return [item["value"] for item in metadata.get("items", []) if item["key"] == key]


def _last(link: str) -> str:
    return link.rsplit("/", 1)[-1]


COMPUTE = r"/compute/v1/projects/(?P<project>[^/]+)"
ZONE = COMPUTE + r"/zones/(?P<zone>[^/]+)"
INSTANCE = ZONE + r"/instances/(?P<instance>[^/]+)"
OWN = r"/v1/projects/(?P<project>[^/:]+)"
ROUTES: tuple[tuple[str, str, Callable[[Call], Json]], ...] = (
    ("GET", COMPUTE, _project),
    ("POST", COMPUTE + "/setCommonInstanceMetadata", _set_metadata),
    ("GET", COMPUTE + r"/global/operations/(?P<operation>[^/]+)", _operation),
    ("GET", COMPUTE + r"/regions/(?P<region>[^/]+)/subnetworks", _subnetworks),
    ("GET", ZONE + r"/operations/(?P<operation>[^/]+)", _operation),
    ("POST", ZONE + "/instances", _insert),
    ("GET", ZONE + "/instances", _list),
    ("GET", INSTANCE, _get),
    ("DELETE", INSTANCE, _delete),
    ("POST", INSTANCE + "/setLabels", _set_labels),
    ("POST", INSTANCE + "/stop", _stop),
    ("POST", INSTANCE + "/start", _start),
    ("GET", OWN, _crm_project),
    ("POST", OWN + ":getIamPolicy", _get_policy),
    ("POST", OWN + ":setIamPolicy", _set_policy),
    ("GET", OWN + "/serviceAccounts/(?P<email>[^/]+)", _service_account),
    ("POST", OWN + "/serviceAccounts", _make_service_account),
)
