"""Machine images, by exact name: Ubuntu 22.04 of one day on every cloud, so that all machines have the same libraries.

Images with drivers differ from cloud to cloud and move on; drivers are installed by `commands.py` where a machine has
an NVIDIA chip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

IMAGES: Mapping[str, str] = {
    # Canonical publishes each of its images under the day it was made: documentation.ubuntu.com/aws, "Find Ubuntu
    # images", parameter store. EC2 resolves the name in each region.
    "aws": "resolve:ssm:/aws/service/canonical/ubuntu/server/22.04/stable/20240927/amd64/hvm/ebs-gp2/ami-id",
    # Base of skypilot-org/skypilot-catalog catalogs/v8/gcp/images.csv @44a3924.
    "gcp": "projects/ubuntu-os-cloud/global/images/ubuntu-2204-jammy-v20240927",
    # publisher:offer:sku:version, as `az vm image list` prints it.
    "azure": "Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2:22.04.202510230",
}


def image_of(images: Mapping[str, str], cloud: str, region: str) -> str:
    """What the user names for a region, else for its cloud, else Ubuntu."""
    return images.get(f"{cloud}/{region}") or images.get(cloud) or IMAGES[cloud]


ARM: Mapping[str, re.Pattern[str]] = {
    "aws": re.compile(r"[a-z]+\d+g[a-z]*\."),
    "gcp": re.compile(r"(t2a|c4a|n4a|a4x)-"),
    "azure": re.compile(r"Standard_[A-Z]+\d+p"),
}
"""Machine types with ARM processors, by how their clouds name them: AWS Graviton, Google Axion, Azure Cobalt."""


def is_arm(cloud: str, machine: str) -> bool:
    return ARM[cloud].match(machine) is not None
