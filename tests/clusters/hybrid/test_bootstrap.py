from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.clusters.hybrid.conftest import EAST, WEST, Harbour, Hosts, candidate, owned, tags
from tests.clusters.hybrid.test_provider import launch
from tradewind.clusters.hybrid import HybridNodeProvider
from tradewind.clusters.hybrid.bootstrap import bootstrap
from tradewind.errors import AuthError, CloudError, SpecError

BARE = {"InstanceType": "m5.large"}


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "harbour-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return str(path)


def config(harbour: Harbour, key: str | None, types: dict[str, Any], *, head: str = "head") -> dict[str, Any]:
    written = {
        "cluster_name": "harbour",
        "max_workers": 4,
        "provider": harbour.settings(hosts=["a", "b"]),
        "auth": {"ssh_user": "ray", **({"ssh_private_key": key} if key else {})},
        "available_node_types": types,
        "head_node_type": head,
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": ["ray start --head"],
        "worker_start_ray_commands": ["ray start"],
        "docker": {},
        "rsync_exclude": [],
        "rsync_filter": [],
    }
    prepared: dict[str, Any] = prepare_config(written)
    validate_config(prepared)
    return prepared


def node_type(*candidates: dict[str, Any], workers: int = 2) -> dict[str, Any]:
    return {"resources": {"CPU": 2}, "max_workers": workers, "node_config": {"candidates": list(candidates)}}


def bare(name: str, backend: str, **changes: Any) -> dict[str, Any]:
    return candidate(name, backend, 0.1) | {"node_config": dict(BARE)} | changes


HEAD = {"head": node_type(owned("berlin-1"), workers=0)}


def found(done: dict[str, Any], name: str, index: int = 0) -> dict[str, Any]:
    configuration: dict[str, Any] = done["available_node_types"][name]["node_config"]["candidates"][index][
        "node_config"
    ]
    return configuration


def test_each_region_completes_its_own_candidates(harbour: Harbour, key: str) -> None:
    done = bootstrap(config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"), bare("e", "east"))}))
    west, east = found(done, "cpu", 0), found(done, "cpu", 1)
    for configuration, region in ((west, WEST), (east, EAST)):
        subnets = {item["SubnetId"] for item in harbour.ec2.client(region).describe_subnets()["Subnets"]}
        assert configuration["SubnetIds"]
        assert set(configuration["SubnetIds"]) <= subnets
        assert configuration["SecurityGroupIds"]
        assert configuration["ImageId"].startswith("ami-")
        assert "IamInstanceProfile" not in configuration
    assert json.loads(json.dumps(done)) == done


def test_one_key_is_given_to_every_region(harbour: Harbour, key: str) -> None:
    done = bootstrap(config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"), bare("e", "east"))}))
    assert found(done, "cpu", 0)["KeyName"] == found(done, "cpu", 1)["KeyName"]
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    for region in (WEST, EAST):
        name = found(done, "cpu")["KeyName"]
        (pair,) = harbour.ec2.client(region).describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
        assert pair["PublicKey"].startswith(public)
    assert bootstrap(config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"))})), "a second time"


def test_key_pair_that_is_named_and_missing_is_made(harbour: Harbour, key: str) -> None:
    written = bare("w", "west", node_config={**BARE, "KeyName": "lighthouse"})
    bootstrap(config(harbour, key, HEAD | {"cpu": node_type(written)}))
    assert harbour.ec2.client(WEST).describe_key_pairs(KeyNames=["lighthouse"])["KeyPairs"]


def test_head_in_a_cloud_gets_its_role_and_workers_none(harbour: Harbour, key: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("ray.autoscaler._private.aws.config.time.sleep", lambda _: None)
    types = {"head": node_type(bare("h", "west"), workers=0), "cpu": node_type(bare("w", "west"))}
    done = bootstrap(config(harbour, key, types))
    assert ":instance-profile/" in found(done, "head")["IamInstanceProfile"]["Arn"]
    assert "IamInstanceProfile" not in found(done, "cpu")


def test_what_was_bootstrapped_launches(harbour: Harbour, key: str) -> None:
    done = bootstrap(config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"))}))
    provider = HybridNodeProvider(done["provider"], "harbour")
    assert launch(provider, *done["available_node_types"]["cpu"]["node_config"]["candidates"])[0].startswith("west/")


def test_head_on_an_own_host_finds_itself(
    harbour: Harbour, key: str, hosts: Hosts, tmp_path: Path, monkeypatch: Any
) -> None:
    hosts.add("a", "b")
    done = bootstrap(config(harbour, key, HEAD))
    done["provider"]["backends"]["berlin"]["head"] = "a"
    laptop = HybridNodeProvider(done["provider"], "harbour")
    laptop.create_node(done["available_node_types"]["head"]["node_config"], tags("head", "head"), 1)
    shipped = json.loads(json.dumps(laptop.prepare_for_head_node(done)))
    monkeypatch.setenv("HOME", str(tmp_path / "home of the head"))
    head = HybridNodeProvider({**shipped["provider"], "on_head": False}, "harbour")
    assert head.non_terminated_nodes({"ray-node-type": "head", "ray-user-node-type": "head"}) == ["berlin/a"]
    assert launch(head, owned("berlin-1")) == ["berlin/b"]
    assert shipped["provider"]["on_head"] is True
    assert shipped["provider"]["backends"]["berlin"]["ssh_private_key"] == key


@pytest.mark.parametrize(
    ("types", "complaint"),
    [
        (
            {"cpu": node_type(bare("w", "wets"))},
            r"available_node_types\.cpu\.node_config\.candidates\[0\]\.backend: no backend named 'wets'",
        ),
        ({"cpu": node_type()}, r"available_node_types\.cpu\.node_config\.candidates is missing"),
        (
            {"cpu": node_type(bare("w", "west", resources={"CPU": 2}), bare("e", "east", resources={"CPU": 4}))},
            r"available_node_types\.cpu\.node_config\.candidates: e has \{'CPU': 4.0\}, and w has \{'CPU': 2.0\}",
        ),
        ({"cpu": node_type(bare("w", "west", resources={"CPU": 8}))}, r"cpu.* w has \{'CPU': 8.0\}, and its class"),
        (
            {"cpu": node_type(bare("w", "west", usd_per_hour=51.0))},
            r"available_node_types\.cpu: no candidate costs at most \$50",
        ),
    ],
)
def test_mistake_in_the_yaml_names_its_place(harbour: Harbour, key: str, types: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        bootstrap(config(harbour, key, HEAD | types))
    with pytest.raises(click.ClickException, match=complaint):
        HybridNodeProvider.bootstrap_config(config(harbour, key, HEAD | types))


def test_key_that_is_not_there_is_named(harbour: Harbour) -> None:
    with pytest.raises(SpecError, match=r"auth\.ssh_private_key: no file '/nowhere'"):
        bootstrap(config(harbour, "/nowhere", HEAD))
    with pytest.raises(SpecError, match=r"auth\.ssh_private_key is missing"):
        bootstrap(config(harbour, None, HEAD))


def test_region_that_cannot_be_used_names_its_backend(harbour: Harbour, key: str) -> None:
    written = config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"))})
    written["provider"]["backends"]["west"]["aws_credentials"] = {"endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises((CloudError, AuthError), match=r"provider\.backends\.west: .*127\.0\.0\.1:9"):
        bootstrap(written)


def test_region_that_amazon_does_not_have_is_told_from_a_cloud_that_is_down(harbour: Harbour, key: str) -> None:
    written = config(harbour, key, HEAD | {"cpu": node_type(bare("w", "west"))})
    written["provider"]["backends"]["west"] |= {
        "region": "us-wets-2",
        "aws_credentials": {"endpoint_url": "http://127.0.0.1:9"},
    }
    with pytest.raises(SpecError, match=r"provider\.backends\.west\.region: .*'us-wets-2'.* 'us-west-2'"):
        bootstrap(written)
