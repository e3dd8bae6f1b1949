"""The rules that are offered for buckets: as in the files of `golden/`, and as a server takes them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import get_args

import pytest

from tradewind.datasets.tiers.lifecycle import bucket_rule, warning
from tradewind.errors import SpecError
from tradewind.storage.classes.table import Cloud

GOLDEN = Path(__file__).parent / "golden"
STORES: dict[Cloud, str] = {
    "s3": "s3://harbour/team/one",
    "gcs": "gs://harbour/team/one",
    "azure": "az://harbour/team/one",
}


@pytest.mark.parametrize("cloud", get_args(Cloud))
def test_rule_is_the_one_of_the_file(cloud: Cloud) -> None:
    rule = bucket_rule(cloud, "logbook", store_url=STORES[cloud], after_days=30)
    assert rule == json.loads((GOLDEN / f"lifecycle_{cloud}.json").read_text())


def test_s3_takes_the_rule_and_gives_it_back(moto_s3: str) -> None:
    import boto3

    client, bucket = boto3.session.Session().client("s3"), f"rules-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    rule = bucket_rule("s3", "logbook", store_url=f"s3://{bucket}/deep", after_days=30)
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rule)
    assert client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rule["Rules"]


@pytest.mark.parametrize("cloud", get_args(Cloud))
def test_rule_is_for_marked_objects_of_one_dataset_only(cloud: Cloud) -> None:
    text = json.dumps(bucket_rule(cloud, "logbook", store_url=STORES[cloud], after_days=30))
    assert "team/one/datasets/logbook/data/" in text
    assert {"s3": "tradewind-tier", "azure": "tradewind-tier", "gcs": "daysSinceCustomTime"}[cloud] in text


def test_rule_for_a_bucket_elsewhere_begins_at_its_root() -> None:
    rule = bucket_rule("s3", "logbook", store_url="file:///home/me/work", after_days=1)
    assert rule["Rules"][0]["Filter"]["And"]["Prefix"] == "datasets/logbook/data/"
    azure = bucket_rule("azure", "log.book_2", store_url="memory://x", after_days=1)["rules"][0]
    assert azure["definition"]["filters"]["prefixMatch"] == ["CONTAINER/datasets/log.book_2/data/"]
    assert azure["name"] == "tradewind-log-book-2-cold-to-archive"


@pytest.mark.parametrize("cloud", get_args(Cloud))
def test_warning_says_what_a_bucket_does_not_know(cloud: Cloud) -> None:
    text = "\n".join(warning(cloud, after_days=30))
    assert "sees no live runs" in text
    assert "is billed for 90 days at least" in text
    assert ("cannot be read before a restore" in text) is (cloud != "gcs")
    assert "billed" not in "\n".join(warning(cloud, after_days=90))


def test_days_and_name_are_checked() -> None:
    with pytest.raises(SpecError, match="0 days"):
        bucket_rule("s3", "logbook", store_url="s3://b", after_days=0)
    with pytest.raises(SpecError, match="is not a name"):
        bucket_rule("s3", "../x", store_url="s3://b", after_days=1)
