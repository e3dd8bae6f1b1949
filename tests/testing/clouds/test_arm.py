"""The stand-in for Azure Resource Manager, spoken to in HTTP. Ray's own provider meets it in tests/lab."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tradewind.testing.clouds.arm import Arm, start_arm

GROUP = "/subscriptions/s/resourceGroups/harbour"
NIC = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"
TEMPLATE: dict[str, Any] = {
    "parameters": {},
    "resources": [
        {
            "type": "Microsoft.Compute/virtualMachines",
            "name": "vm",
            "tags": {"kind": "worker"},
            "properties": {
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                "priority": "Spot",
                "storageProfile": {"osDisk": {}},
                "networkProfile": {"networkInterfaces": [{"id": NIC}]},
                "osProfile": {"linuxConfiguration": {"ssh": {"publicKeys": [{"keyData": "ssh-rsa AAAA"}]}}},
            },
        },
        {
            "type": "Microsoft.Network/networkInterfaces",
            "name": "nic",
            "properties": {"ipConfigurations": [{"name": "ip", "properties": {}}]},
        },
    ],
    "outputs": {"address": {"type": "object", "value": "[reference('nic').ipConfigurations[0].properties]"}},
}


@pytest.fixture
def arm() -> Iterator[Arm]:
    with start_arm("10.77.80.0/20") as arm:
        ask(arm, "PUT", GROUP, {"location": "westus2"})
        yield arm


def ask(arm: Arm, method: str, path: str, body: object = None) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(arm.endpoint).netloc, timeout=10)
    try:
        connection.request(method, f"{path}?api-version=2024-07-01", json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.getheaders())
    finally:
        connection.close()


def deploy(arm: Arm, **parameters: Any) -> tuple[int, Any, dict[str, str]]:
    path = f"{GROUP}/providers/Microsoft.Resources/deployments/d"
    return ask(arm, "PUT", path, {"properties": {"template": TEMPLATE, "parameters": parameters}})


def test_template_makes_a_machine_with_interface_disk_and_address(arm: Arm) -> None:
    status, deployment, _ = deploy(arm)
    assert (status, deployment["properties"]["provisioningState"]) == (200, "Succeeded")
    (machine,) = arm.machines()
    assert (machine.id, machine.type, machine.market, machine.place) == ("vm", "Standard_D2s_v5", "spot", "westus2")
    assert machine.keys == ("ssh-rsa AAAA",)
    address = deployment["properties"]["outputs"]["address"]["value"]["privateIPAddress"]
    assert address == machine.address == "10.77.80.5"
    assert len(arm.subscription.resources) == 3


def test_ids_are_the_same_in_any_case(arm: Arm) -> None:
    deploy(arm)
    assert ask(arm, "GET", VM.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))[1]["name"] == "vm"


def test_machine_is_running_until_it_is_deallocated_and_again_when_started(arm: Arm) -> None:
    deploy(arm)
    states = []
    for act in ("start", "deallocate", "start"):
        ask(arm, "POST", f"{VM}/{act}")
        view = ask(arm, "GET", f"{VM}/instanceView")[1]
        states.append(view["statuses"][1]["code"])
    assert states == ["PowerState/running", "PowerState/deallocated", "PowerState/running"]


def test_tags_are_replaced(arm: Arm) -> None:
    deploy(arm)
    ask(arm, "PATCH", VM, {"tags": {"kind": "head"}})
    assert ask(arm, "GET", VM)[1]["tags"] == {"kind": "head"}


def test_deleting_twice_is_no_error_and_reading_what_is_gone_is(arm: Arm) -> None:
    deploy(arm)
    assert [ask_status(arm, "DELETE", VM) for _ in range(2)] == [200, 204]
    assert ask(arm, "GET", VM)[0] == 404
    assert arm.machines() == []


def ask_status(arm: Arm, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(arm.endpoint).netloc, timeout=10)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_sold_out_size_fails_the_deployment_and_leaves_what_never_runs(arm: Arm) -> None:
    arm.weather.sold_out.add("westus2 Standard_D2s_v5 spot")
    status, _, headers = deploy(arm)
    assert status == 201
    outcome = ask(arm, "GET", urlsplit(headers["Azure-AsyncOperation"]).path)[1]
    assert (outcome["status"], outcome["error"]["code"]) == ("Failed", "DeploymentFailed")
    assert outcome["error"]["details"][0]["code"] == "AllocationFailed"
    assert arm.machines() == []
    assert list(arm.subscription.resources) == [NIC.lower(), VM.lower()]
    (status,) = ask(arm, "GET", f"{VM}/instanceView")[1]["statuses"]
    assert status["code"] == "ProvisioningState/failed/AllocationFailed"


def test_lost_launch_is_an_error_and_the_machine_runs(arm: Arm) -> None:
    arm.weather.lost_launches = 1
    assert deploy(arm)[0] == 500
    assert len(arm.machines()) == 1


def test_parameter_that_is_not_declared_is_refused(arm: Arm) -> None:
    status, said, _ = deploy(arm, colour={"value": "red"})
    assert (status, said["error"]["code"]) == (400, "InvalidTemplate")


def test_group_must_be_made_first(arm: Arm) -> None:
    status, said, _ = ask(arm, "GET", "/subscriptions/s/resourceGroups/other/resources")
    assert (status, said["error"]["code"]) == (404, "ResourceGroupNotFound")


def test_cloud_that_is_down_still_has_its_machines(arm: Arm) -> None:
    deploy(arm)
    arm.weather.is_down = True
    assert ask(arm, "GET", VM)[0] == 503
    assert len(arm.machines()) == 1


def test_machine_that_was_taken_back_is_deallocated(arm: Arm) -> None:
    deploy(arm)
    arm.interrupt(arm.machines()[0])
    assert arm.machines() == []
    assert ask(arm, "GET", f"{VM}/instanceView")[1]["statuses"][1]["code"] == "PowerState/deallocated"
