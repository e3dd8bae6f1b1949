"""The sources by the name of their cloud, and which cloud this machine is of."""

from __future__ import annotations

from pathlib import Path

from tradewind.clusters.sentinel.source import Source
from tradewind.plugins import Table

SOURCES = Table(
    "notice source",
    {
        "aws": "tradewind.clusters.sentinel.aws:AwsNotices",
        "azure": "tradewind.clusters.sentinel.azure:AzureNotices",
        "gcp": "tradewind.clusters.sentinel.gcp:GcpNotices",
    },
    group="notice_sources",
)
FIRMWARE = Path("/sys/class/dmi/id")
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
"""The chassis of every virtual machine of Azure: the rule that cloud-init's `ds-identify` goes by."""


def open_source(cloud: str, metadata: str | None = None) -> Source:
    """The notices of a cloud, from its metadata service or from the URL of another. Raises NotFoundError."""
    source: Source = SOURCES[cloud](metadata) if metadata else SOURCES[cloud]()
    return source


def this_cloud(firmware: Path = FIRMWARE) -> str | None:
    """Which cloud's machine this is, by what its firmware says; nothing is asked of the network.

    The rules are those of cloud-init's `ds-identify`. Older machines of AWS say `amazon` in the BIOS's version alone.
    """
    words = {name: _word(firmware / name) for name in ("sys_vendor", "bios_version", "product_name")}
    if words["sys_vendor"] == "Amazon EC2" or "amazon" in words["bios_version"].lower():
        return "aws"
    if words["product_name"] == "Google Compute Engine":
        return "gcp"
    return "azure" if _word(firmware / "chassis_asset_tag") == AZURE_TAG else None


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
