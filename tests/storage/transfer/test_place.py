from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.errors import SpecError
from tradewind.records import LOCAL, UNKNOWN, Place
from tradewind.storage import open_store
from tradewind.storage.transfer.place import place_of, this_place


def test_this_machine_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_PLACE", "aws/us-east-1/us-east-1a")
    assert this_place() == Place(cloud="aws", region="us-east-1", zone="us-east-1a")


def test_this_machine_is_nowhere_known_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADEWIND_PLACE", raising=False)
    assert this_place() == UNKNOWN


def test_wrong_place_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_PLACE", "us east")
    with pytest.raises(SpecError, match="TRADEWIND_PLACE: 'us east' is not a place"):
        this_place()


def test_folder_is_local(tmp_path: Path) -> None:
    assert place_of(open_store(str(tmp_path))) == LOCAL


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_bucket_of_amazon_is_in_the_region_of_the_environment(no_aws: pytest.MonkeyPatch) -> None:
    bucket = open_store("s3://bucket/prefix")
    assert place_of(bucket) == UNKNOWN
    no_aws.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert place_of(bucket) == Place(cloud="aws", region="eu-west-1")
    no_aws.setenv("AWS_ENDPOINT_URL", "https://s3.eu-west-1.amazonaws.com")
    assert place_of(bucket) == Place(cloud="aws", region="eu-west-1")


@pytest.mark.parametrize("server", ["http://ceph.harbour", "https://amazonaws.com.example.org", "ceph.harbour"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_bucket_of_another_server_is_not_guessed(no_aws: pytest.MonkeyPatch, name: str, server: str) -> None:
    no_aws.setenv("AWS_REGION", "eu-west-1")
    no_aws.setenv(name, server)
    assert place_of(open_store("s3://bucket/prefix")) == UNKNOWN
