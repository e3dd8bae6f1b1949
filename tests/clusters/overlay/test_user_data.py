from __future__ import annotations

from typing import Any

import pytest

from tradewind.clusters.overlay.user_data import with_user_data
from tradewind.errors import SpecError

TEXT = "#cloud-config\n"


def test_ec2_takes_it_as_such() -> None:
    given = {"InstanceType": "m5.large"}
    assert with_user_data("aws", given, TEXT) == {"InstanceType": "m5.large", "UserData": TEXT}
    assert given == {"InstanceType": "m5.large"}


def test_compute_engine_takes_it_beside_other_metadata() -> None:
    given = {"metadata": {"items": [{"key": "tide", "value": "high"}]}}
    items = with_user_data("gcp", given, TEXT)["metadata"]["items"]
    assert items == [{"key": "tide", "value": "high"}, {"key": "user-data", "value": TEXT}]
    assert with_user_data("gcp", {}, TEXT)["metadata"]["items"] == [{"key": "user-data", "value": TEXT}]


@pytest.mark.parametrize(
    ("kind", "config"),
    [("aws", {"UserData": "x"}), ("gcp", {"metadata": {"items": [{"key": "user-data", "value": "x"}]}})],
)
def test_user_data_of_somebody_else_is_not_overwritten(kind: str, config: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="has user data already"):
        with_user_data(kind, config, TEXT)


@pytest.mark.parametrize("kind", ["azure", "static"])
def test_backend_without_user_data_is_said(kind: str) -> None:
    with pytest.raises(SpecError, match=f"'{kind}' take no user data"):
        with_user_data(kind, {}, TEXT)
