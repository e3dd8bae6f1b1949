"""The stand-in for EC2, spoken to as Ray's provider does."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tradewind.testing.clouds.ec2 import CREDENTIALS, Ec2, start_ec2

REGIONS = {"us-west-2": "10.77.16.0/20", "us-east-1": "10.77.32.0/20"}
SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Ec2]:
    with start_ec2(REGIONS) as ec2:
        yield ec2


@pytest.fixture
def ec2(server: Ec2) -> Iterator[Ec2]:
    yield server
    server.weather.change({"sold_out": [], "is_down": False, "lost_launches": 0, "silence_s": 0.0})
    server.announce()
    for machine in server.machines():
        server.interrupt(machine)


def run(ec2: Ec2, region: str = "us-west-2", *, most: int = 1, **named: Any) -> list[str]:
    client = ec2.client(region)
    subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
    asked = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "SubnetId": subnet, **named}
    return [made["InstanceId"] for made in client.run_instances(MinCount=1, MaxCount=most, **asked)["Instances"]]


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_as_many_instances_run_as_are_asked_for_at_most(ec2: Ec2) -> None:
    made = run(ec2, most=3)
    assert len(made) == 3
    assert sorted(machine.id for machine in ec2.machines()) == sorted(made)


@pytest.mark.parametrize("region", list(REGIONS))
def test_addresses_are_of_the_regions_block(ec2: Ec2, region: str) -> None:
    run(ec2, region, most=2)
    machines = ec2.machines()
    assert len({machine.address for machine in machines}) == 2
    assert {machine.place for machine in machines} == {region}
    block = ipaddress.ip_network(REGIONS[region])
    assert all(ipaddress.ip_address(machine.address) in block for machine in machines)


def test_every_zone_has_one_subnet_and_no_other_network_has_any(ec2: Ec2) -> None:
    subnets = ec2.client("us-west-2").describe_subnets()["Subnets"]
    assert [subnet["AvailabilityZone"] for subnet in subnets] == ["us-west-2a", "us-west-2b", "us-west-2c"]
    assert len({subnet["VpcId"] for subnet in subnets}) == 1
    assert all(subnet["MapPublicIpOnLaunch"] for subnet in subnets)


def test_machine_says_its_market_type_and_who_may_log_in(ec2: Ec2) -> None:
    ec2.client("us-west-2").create_key_pair(KeyName="harbour", KeyType="ed25519")
    run(ec2, KeyName="harbour", **SPOT)
    (machine,) = ec2.machines()
    assert (machine.market, machine.type) == ("spot", "m5.large")
    assert machine.keys[0].startswith("ssh-ed25519 ")


def test_type_is_sold_out_in_one_region_and_market_alone(ec2: Ec2) -> None:
    ec2.weather.sold_out.add("us-west-2 m5.large spot")
    ec2.announce()
    with pytest.raises(ClientError) as caught:
        run(ec2, **SPOT)
    assert code_of(caught) == "InsufficientInstanceCapacity"
    assert run(ec2)
    assert run(ec2, "us-east-1", **SPOT)


def test_lost_launch_is_an_error_and_the_machine_runs(ec2: Ec2) -> None:
    ec2.weather.lost_launches = 1
    ec2.announce()
    with pytest.raises(ClientError) as caught:
        run(ec2)
    assert code_of(caught) == "InternalError"
    assert len(ec2.machines()) == 1


def test_region_of_a_lost_launch_is_silent_and_the_other_is_not(ec2: Ec2) -> None:
    ec2.weather.lost_launches, ec2.weather.silence_s = 1, 1.0
    ec2.announce()
    with pytest.raises(ClientError):
        run(ec2)
    assert run(ec2, "us-east-1")
    with pytest.raises(ClientError) as caught:
        run(ec2)
    assert code_of(caught) == "Unavailable"


def test_cloud_that_is_down_still_has_its_machines(ec2: Ec2) -> None:
    import boto3

    run(ec2)
    ec2.weather.is_down = True
    ec2.announce()
    client = boto3.client(
        "ec2",
        region_name="us-west-2",
        endpoint_url=ec2.endpoint,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 0}),
    )
    with pytest.raises(ClientError) as caught:
        client.describe_instances()
    assert code_of(caught) == "Unavailable"
    assert len(ec2.machines()) == 1


def test_machine_that_was_taken_back_runs_no_more(ec2: Ec2) -> None:
    run(ec2)
    ec2.interrupt(ec2.machines()[0])
    assert ec2.machines() == []


def test_role_that_rays_launcher_wants_is_there(ec2: Ec2) -> None:
    import boto3

    iam = boto3.client(
        "iam",
        region_name="us-east-1",
        endpoint_url=ec2.endpoint,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    profile = iam.get_instance_profile(InstanceProfileName="ray-autoscaler-v1")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["ray-autoscaler-v1"]
