"""Files for AWS through Ray's own provider, against an EC2 that is moto's: bootstrap, launch, tags, end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters.render.samples import AWS, L4S, SITE, candidate, group, made
from tradewind.clusters.render import render

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TAGS = {"ray-node-kind": "worker", "ray-node-name": "w", "ray-user-node-type": "l4-spot", "ray-launch-config": "1"}


@pytest.fixture
def ec2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from moto import mock_aws
    from ray.autoscaler._private.aws.utils import client_cache, resource_cache

    for cache in (client_cache, resource_cache):  # of Ray, with what led other tests to other servers
        cache.cache_clear()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    (tmp_path / ".ssh").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / ".ssh" / "harbour"], check=True)
    with mock_aws():
        yield
    for cache in (client_cache, resource_cache):
        cache.cache_clear()


def launcher() -> Any:
    """Ray's provider, which has no types."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    return AWSNodeProvider


def bootstrapped(**values: Any) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    wish = group(candidate(AWS, L4S[AWS], market="spot"), candidate(AWS, L4S[AWS]), max=2)
    (text,) = render(made(groups={"l4": wish}, **values), name="a").values()
    config = prepare_config(yaml.safe_load(text))
    config["available_node_types"]["head"]["node_config"]["IamInstanceProfile"] = {"Name": "none"}
    found: dict[str, Any] = launcher().bootstrap_config(config)
    return found


def test_spot_machine_is_launched_as_rendered_and_is_ended_not_stopped(ec2: None) -> None:
    config = bootstrapped(owner="acme")
    provider = launcher()(config["provider"], config["cluster_name"])
    provider.create_node(config["available_node_types"]["l4-spot"]["node_config"], dict(TAGS), 1)
    (node,) = provider.non_terminated_nodes({})
    tags = provider.node_tags(node)
    assert (tags["tradewind-owner"], tags["tradewind-ttl-s"], tags["ray-node-kind"]) == ("acme", "86400", "worker")
    instance = provider.ec2.Instance(node)
    assert (instance.instance_type, instance.instance_lifecycle) == ("g6.xlarge", "spot")
    provider.terminate_node(node)
    instance.reload()
    assert provider.non_terminated_nodes({}) == []
    assert instance.state["Name"] in ("shutting-down", "terminated")


def test_only_ssh_is_open_to_others(ec2: None) -> None:
    import boto3

    config = bootstrapped()
    (name,) = config["available_node_types"]["l4-spot"]["node_config"]["SecurityGroupIds"]
    rules = boto3.client("ec2", region_name="us-west-2").describe_security_groups(GroupIds=[name])["SecurityGroups"][0]
    everybody = [rule for rule in rules["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in everybody] == [(22, 22)]


def test_key_of_the_spec_is_the_key_of_the_machines(ec2: None) -> None:
    config = bootstrapped()
    assert config["available_node_types"]["l4-spot"]["node_config"]["KeyName"] == "harbour"


def test_candidates_of_two_regions_are_bootstrapped_by_the_provider_of_several_clouds(ec2: None) -> None:
    from ray.autoscaler._private.util import prepare_config

    from tradewind.clusters.hybrid import HybridNodeProvider

    wish = group(candidate(SITE), candidate(AWS), candidate("aws/us-east-1", "m6i.2xlarge"))
    cluster = made(SITE, groups={"cpu": wish})
    (text,) = render(cluster, name="a").values()
    config = HybridNodeProvider.bootstrap_config(prepare_config(yaml.safe_load(text)))
    own, *rented = config["available_node_types"]["cpu"]["node_config"]["candidates"]
    assert own["node_config"] == {}
    assert {one["backend"] for one in rented} == {"aws-us-west-2", "aws-us-east-1"}
    assert all(one["node_config"]["SubnetIds"] and one["node_config"]["SecurityGroupIds"] for one in rented)
