"""Rules for a bucket: the cloud itself archives objects after so many days, by the mark that `tier --apply` has left.

A bucket's rule knows the age of an object, and neither runs nor versions nor what they share. So it is only offered for
objects that were marked as cold, which were free of all that when they were marked. What has begun to use them since,
it does not see: reading then raises ArchivedError.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from tradewind.datasets.shards import data_prefix
from tradewind.errors import SpecError
from tradewind.specs.reference import check_name
from tradewind.storage.classes.table import CLOUDS, MARK, Cloud, Tier, classes

MARKED: Tier = "cold"
"""Objects that were marked with this tier are archived."""


def bucket_rule(cloud: Cloud, name: str, *, store_url: str, after_days: int) -> dict[str, Any]:
    """What the cloud's own tools take, for the shards of a dataset in a store. Raises SpecError.

    S3: `put-bucket-lifecycle-configuration`; Google: `buckets update --lifecycle-file`; Azure: `management-policy`.
    """
    check_name(name)
    if after_days < 1:
        raise SpecError(f"{after_days} days", hint="a rule counts whole days, from 1")
    parts = urlsplit(store_url)
    is_there = CLOUDS.get(parts.scheme) == cloud
    inner = f"{parts.path.strip('/')}/" if is_there and parts.path.strip("/") else ""
    prefix = f"{inner}{data_prefix(name)}/"
    if cloud == "s3":
        return _s3(name, prefix, after_days)
    if cloud == "gcs":
        return _gcs(prefix, after_days)
    container = (parts.username or parts.netloc) if is_there else "CONTAINER"
    return _azure(name, f"{container}/{prefix}", after_days)


def warning(cloud: Cloud, *, after_days: int) -> list[str]:
    """What somebody should know before such a rule is set."""
    table = classes(cloud)
    cold, archive = table[MARKED], table["archive"]
    lines = [
        f"this rule sees no live runs: it archives what `tw datasets tier --apply` has marked {MARKED}, "
        "also when a run has begun to read it since",
        "a bucket has one lifecycle configuration: add this rule to the ones that are there",
    ]
    if after_days < cold.minimum_days:
        lines.append(f"{cold.name} is billed for {cold.minimum_days} days at least, so {after_days} days pay it twice")
    if archive.restore_hours:
        lines.append(f"{archive.name} cannot be read before a restore of up to {archive.restore_hours:g} hours")
    return lines


def _s3(name: str, prefix: str, days: int) -> dict[str, Any]:
    return {
        "Rules": [
            {
                "ID": f"tradewind-{name}-{MARKED}-to-archive",
                "Status": "Enabled",
                "Filter": {"And": {"Prefix": prefix, "Tags": [{"Key": MARK, "Value": MARKED}]}},
                "Transitions": [{"Days": days, "StorageClass": classes("s3")["archive"].name}],
            }
        ]
    }


def _gcs(prefix: str, days: int) -> dict[str, Any]:
    """Google has no tags on objects: `tier --apply` sets a custom time, and the class says which tier it was."""
    table = classes("gcs")
    condition = {
        "daysSinceCustomTime": days,
        "matchesPrefix": [prefix],
        "matchesStorageClass": [table[MARKED].name],
    }
    action = {"type": "SetStorageClass", "storageClass": table["archive"].name}
    return {"lifecycle": {"rule": [{"action": action, "condition": condition}]}}


def _azure(name: str, prefix: str, days: int) -> dict[str, Any]:
    return {
        "rules": [
            {
                "enabled": True,
                "name": re.sub(r"[^a-z0-9]+", "-", f"tradewind-{name}-{MARKED}-to-archive"),
                "type": "Lifecycle",
                "definition": {
                    "actions": {
                        "baseBlob": {
                            "tierToArchive": {
                                "daysAfterModificationGreaterThan": days,
                                "daysAfterLastTierChangeGreaterThan": days,
                            }
                        }
                    },
                    "filters": {
                        "blobTypes": ["blockBlob"],
                        "prefixMatch": [prefix],
                        "blobIndexMatch": [{"name": MARK, "op": "==", "value": MARKED}],
                    },
                },
            }
        ]
    }
