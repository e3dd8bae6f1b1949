"""EC2, as Ray's own provider launches it: `boto3` arguments of `create_instances`."""

from __future__ import annotations

import json
from typing import Any

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.images import image_of
from tradewind.clusters.render.tags import tags

DISK_GB = 100

NOTES = (
    "Ray makes a security group that opens port 22 and, between machines of this cluster, everything; no port of Ray",
    "is open to others. Give SecurityGroupIds to narrow port 22.",
)


def provider(region: str, zones: list[str]) -> dict[str, Any]:
    """Zones are tried in their order; none means all of the region."""
    chosen = {"availability_zone": ",".join(zones)} if zones else {}
    return {"type": "aws", "region": region, **chosen, "cache_stopped_nodes": False}


def node_config(cluster: Blueprint, candidate: Candidate) -> dict[str, Any]:
    spec = cluster.spec
    config: dict[str, Any] = {
        "InstanceType": candidate.machine,
        "ImageId": image_of(spec.images, "aws", candidate.region),
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {"VolumeSize": DISK_GB, "VolumeType": "gp3", "DeleteOnTermination": True, "Encrypted": True},
            }
        ],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags(cluster, candidate).items()],
            }
        ],
    }
    if not spec.overlay:  # it brings its own user data, which can be given once
        config["UserData"] = power_off(spec.ttl_s)
    if spec.aws_key_pair:
        config["KeyName"] = spec.aws_key_pair
    return config | market(candidate)


def market(candidate: Candidate) -> dict[str, Any]:
    """A spot machine with its highest price; another one that ends, and does not stop, when it powers off."""
    if not candidate.is_spot:
        return {"InstanceInitiatedShutdownBehavior": "terminate"}
    options = {"MaxPrice": f"{candidate.max_usd_per_hour:.4f}", "InstanceInterruptionBehavior": "terminate"}
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}


def power_off(ttl_s: float) -> str:
    """User data for cloud-init that ends a machine when its time is up, whatever has become of the head."""
    wish = {"mode": "poweroff", "delay": f"+{round(ttl_s / 60)}", "message": "the time of this machine is up"}
    return f"#cloud-config\npower_state: {json.dumps(wish)}\n"
