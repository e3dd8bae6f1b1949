"""The stand-in for Compute Engine, spoken to in HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tradewind.testing.clouds.gce import Gce, start_gce
from tradewind.testing.clouds.redirect import REDIRECT

PROJECT = "/compute/v1/projects/harbour"
ZONE = f"{PROJECT}/zones/us-west1-a"
VM = {"name": "a", "machineType": "zones/us-west1-a/machineTypes/n2-standard-2", "labels": {"kind": "worker"}}


@pytest.fixture
def gce() -> Iterator[Gce]:
    with start_gce("10.77.64.0/20") as gce:
        yield gce


def ask(gce: Gce, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(gce.endpoint).netloc, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def outcome(gce: Gce, operation: dict[str, Any]) -> dict[str, Any]:
    status, said = ask(gce, "GET", f"{ZONE}/operations/{operation['name']}")
    assert status == 200
    return dict(said)


def test_machine_is_made_listed_and_deleted(gce: Gce) -> None:
    status, operation = ask(gce, "POST", f"{ZONE}/instances", VM)
    assert status == 200
    assert outcome(gce, operation)["status"] == "DONE"
    _, instance = ask(gce, "GET", f"{ZONE}/instances/a")
    assert instance["networkInterfaces"][0]["networkIP"] == "10.77.64.5" == gce.machines()[0].address
    ask(gce, "DELETE", f"{ZONE}/instances/a")
    assert gce.machines() == []
    assert ask(gce, "GET", f"{ZONE}/instances/a")[0] == 404


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("((labels.kind = worker)) AND ((status = RUNNING) OR (status = STAGING))", ["a"]),
        ("(labels.kind = head)", []),
        ("(status = TERMINATED)", []),
        ("(NOT labels.kind:*)", []),
        ("(NOT labels.tpu_cores:*)", ["a"]),
    ],
)
def test_listing_is_filtered_as_ray_asks(gce: Gce, expression: str, found: list[str]) -> None:
    ask(gce, "POST", f"{ZONE}/instances", VM)
    _, listed = ask(gce, "GET", f"{ZONE}/instances?filter={quote(expression)}")
    assert [instance["name"] for instance in listed["items"]] == found


def test_listing_is_of_one_zone(gce: Gce) -> None:
    ask(gce, "POST", f"{ZONE}/instances", VM)
    assert ask(gce, "GET", f"{PROJECT}/zones/us-west1-b/instances")[1] == {"items": []}


@pytest.mark.parametrize("labels", [{"kind": "Worker"}, {"Kind": "worker"}, {"kind": "a.b"}, {"kind": "x" * 64}])
def test_labels_are_refused_that_google_refuses(gce: Gce, labels: dict[str, str]) -> None:
    status, said = ask(gce, "POST", f"{ZONE}/instances", {**VM, "labels": labels})
    assert (status, said["error"]["errors"][0]["reason"]) == (400, "invalid")
    assert gce.machines() == []


def test_labels_are_set_once_for_each_fingerprint(gce: Gce) -> None:
    ask(gce, "POST", f"{ZONE}/instances", VM)
    change = {"labels": {"kind": "head"}, "labelFingerprint": "0"}
    assert ask(gce, "POST", f"{ZONE}/instances/a/setLabels", change)[0] == 200
    assert ask(gce, "POST", f"{ZONE}/instances/a/setLabels", change)[0] == 412


def test_sold_out_zone_is_told_by_the_operation(gce: Gce) -> None:
    gce.weather.sold_out.add("us-west1-a n2-standard-2 spot")
    spot = {**VM, "scheduling": {"provisioningModel": "SPOT"}}
    status, operation = ask(gce, "POST", f"{ZONE}/instances", spot)
    assert status == 200
    assert outcome(gce, operation)["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert gce.machines() == []
    ask(gce, "POST", f"{ZONE}/instances", VM)
    assert [machine.market for machine in gce.machines()] == ["on_demand"]


def test_lost_launch_is_an_error_and_the_machine_runs(gce: Gce) -> None:
    gce.weather.lost_launches = 1
    assert ask(gce, "POST", f"{ZONE}/instances", VM)[0] == 503
    assert len(gce.machines()) == 1


def test_cloud_that_is_down_still_has_its_machines(gce: Gce) -> None:
    ask(gce, "POST", f"{ZONE}/instances", VM)
    gce.weather.is_down = True
    assert ask(gce, "GET", f"{ZONE}/instances")[0] == 503
    assert len(gce.machines()) == 1


def test_machine_that_was_taken_back_is_stopped_and_its_address_is_not_given_again(gce: Gce) -> None:
    ask(gce, "POST", f"{ZONE}/instances", VM)
    (first,) = gce.machines()
    gce.interrupt(first)
    assert gce.machines() == []
    assert ask(gce, "GET", f"{ZONE}/instances/a")[1]["status"] == "TERMINATED"
    ask(gce, "POST", f"{ZONE}/instances", {**VM, "name": "b"})
    assert gce.machines()[0].address != first.address


def test_keys_are_of_the_project_and_of_the_machine(gce: Gce) -> None:
    items = [{"key": "ssh-keys", "value": "ubuntu:ssh-rsa AAAA ubuntu\nray:ssh-rsa BBBB ray"}]
    metadata = {"fingerprint": "0", "items": items}
    assert ask(gce, "POST", f"{PROJECT}/setCommonInstanceMetadata", metadata)[0] == 200
    own = {"items": [{"key": "ssh-keys", "value": "me:ssh-ed25519 CCCC me"}]}
    ask(gce, "POST", f"{ZONE}/instances", {**VM, "metadata": own})
    assert gce.machines()[0].keys == ("ssh-rsa AAAA ubuntu", "ssh-rsa BBBB ray", "ssh-ed25519 CCCC me")


def test_what_is_not_there_says_so(gce: Gce) -> None:
    status, said = ask(gce, "GET", f"{PROJECT}/global/networks")
    assert status == 501
    assert "/global/networks" in said["error"]["message"]


def test_process_with_the_environment_finds_the_lab_and_others_do_not(gce: Gce, tmp_path: object) -> None:
    """With a client of three lines in place of Google's, which need not be installed here."""
    program = (
        "import sys, types; sys.modules['google.oauth2.credentials'] = "
        "types.SimpleNamespace(Credentials=lambda token: token)\n"
        "from googleapiclient import discovery; print(discovery.build('compute', 'v1'))"
    )
    folder = tmp_path / "googleapiclient"  # type: ignore[operator]
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "discovery.py").write_text("def build(service, version, **named): return named\n")
    paths = {True: f"{REDIRECT}:{tmp_path}", False: str(tmp_path)}
    said = {
        is_lab: subprocess.run(
            [sys.executable, "-c", program],
            env={"TRADEWIND_LAB_GCE": gce.endpoint, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for is_lab, path in paths.items()
    }
    assert f"{gce.endpoint}/compute/v1/" in said[True]
    assert said[False].strip() == "{}"
