"""Templates of Azure Resource Manager."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.testing.clouds.arm_template import Scope, outputs, parse, resources, scope_of

GROUP = "/subscriptions/s/resourceGroups/harbour"


def scope(index: int = 0, **parameters: Any) -> Scope:
    variables = {"zone": "[parameters('zones')[0]]"}
    return Scope(
        GROUP, "westus2", parameters, variables, {"berth": {"ip": [{"address": "10.0.0.4"}]}}.__getitem__, index
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        ("concat('a', 1, copyIndex())", "a12"),
        ("Parameters('Zones')[1]", "b"),
        ("variables('ZONE')", "a"),
        ("resourceGroup().location", "westus2"),
        ("if(greater(length(parameters('none')), 0), parameters('none')[mod(1, 0)], json('null'))", None),
        ("createArray(string(parameters('zones')[mod(copyIndex(), length(parameters('zones')))]))", ["a"]),
        ("not(equals('a', 'b'))", True),
        ("reference('berth').ip[0].address", "10.0.0.4"),
        ("resourceId('N/kinds', 'x')", f"{GROUP}/providers/N/kinds/x"),
        ("resourceId('N/kinds/parts', 'x', 'y')", f"{GROUP}/providers/N/kinds/x/parts/y"),
        ("resourceId('other', 'N/kinds', 'x')", "/subscriptions/s/resourceGroups/other/providers/N/kinds/x"),
        ("subscriptionResourceId('N/kinds', 'x')", "/subscriptions/s/providers/N/kinds/x"),
    ],
)
def test_expressions_say_what_azures_say(text: str, value: object) -> None:
    assert parse(text)(scope(2, zones=["a", "b"], none=[])) == value


@pytest.mark.parametrize("text", ["concat('a'", "concat('a'))", "nothing()", "'a' 'b'", "§"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse(text)


def test_expressions_are_found_wherever_they_stand_and_escaped_ones_are_text() -> None:
    wanted = {"[parameters('name')]": ["[parameters('name')]", "[[not this]", 7]}
    assert scope(name="x").value(wanted) == {"x": ["x", "[[not this]", 7]}


TEMPLATE: dict[str, Any] = {
    "parameters": {"count": {"type": "int"}, "public": {"type": "bool", "defaultValue": False}},
    "resources": [
        {
            "type": "N/virtualMachines",
            "name": "[concat('vm', copyIndex())]",
            "copy": {"count": "[parameters('count')]"},
        },
        {"type": "N/networkInterfaces", "name": "nic"},
        {"type": "N/publicIPAddresses", "name": "ip", "condition": "[parameters('public')]"},
    ],
    "outputs": {
        "names": {"type": "array", "copy": {"count": "[parameters('count')]", "input": "[copyIndex()]"}},
        "ip": {"type": "string", "value": "x", "condition": "[parameters('public')]"},
    },
}


def deploy(**given: Any) -> Scope:
    values = {name: {"value": value} for name, value in given.items()}
    return scope_of(TEMPLATE, values, group=GROUP, location="westus2", find=lambda _name: {})


def test_copies_and_conditions_are_followed_and_machines_come_last() -> None:
    assert [made["name"] for made in resources(TEMPLATE, deploy(count=2))] == ["nic", "vm0", "vm1"]
    assert [made["name"] for made in resources(TEMPLATE, deploy(count=1, public=True))] == ["ip", "nic", "vm0"]


def test_outputs_follow_them_too() -> None:
    assert outputs(TEMPLATE, deploy(count=2)) == {"names": {"type": "array", "value": [0, 1]}}


@pytest.mark.parametrize(("given", "name"), [({}, "count"), ({"count": 1, "colour": "red"}, "colour")])
def test_parameters_must_be_those_that_are_declared(given: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        deploy(**given)
