from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.clusters.sentinel.table import SOURCES, open_source, this_cloud
from tradewind.errors import NotFoundError


@pytest.mark.parametrize("cloud", SOURCES)
def test_every_cloud_has_its_source(cloud: str) -> None:
    assert open_source(cloud).pause_s >= 0


def test_unknown_cloud_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no notice source named 'awz' \(did you mean 'aws'\?\)"):
        open_source("awz")


@pytest.mark.parametrize(
    ("says", "cloud"),
    [
        ({"sys_vendor": "Amazon EC2", "product_name": "g5.xlarge"}, "aws"),
        ({"sys_vendor": "Xen", "bios_version": "4.11.amazon"}, "aws"),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "gcp"),
        ({"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"}, "azure"),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, None),
        ({"sys_vendor": "Dell Inc."}, None),
        ({}, None),
    ],
)
def test_cloud_is_what_the_firmware_says(tmp_path: Path, says: dict[str, str], cloud: str | None) -> None:
    for name, word in says.items():
        (tmp_path / name).write_text(f"{word}\n")
    assert this_cloud(tmp_path) == cloud
