from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import pytest

from tests.catalog.refresh.cloud import Cloud, as_json, recorded
from tests.catalog.refresh.machines import machine
from tradewind.catalog.price_list import read_prices, write_prices
from tradewind.catalog.refresh import PRICE_APIS, refresh
from tradewind.errors import NotFoundError, SpecError

D2S = machine("azure", "Standard_D2s_v3")
PATH = "/api/retail/prices"


def test_an_unknown_cloud_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no cloud with a price API named 'azur' \(did you mean 'azure'"):
        refresh("azur", instances=[D2S])


def test_a_cloud_without_machine_types_is_a_wrong_wish() -> None:
    with pytest.raises(SpecError, match="no machine type of gcp"):
        refresh("gcp", instances=[D2S])


def test_machine_types_of_other_clouds_are_not_asked_for(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(recorded("azure_d2s_v3_eastus")))
    refresh("azure", instances=[D2S, machine("aws", "p4d.24xlarge"), D2S], regions=["eastus", "eastus"])
    assert len(cloud.asked) == 1
    assert "p4d" not in cloud.asked[0].query["$filter"]
    assert cloud.asked[0].query["$filter"].count("Standard_D2s_v3") == 1


def test_a_price_is_of_the_day_that_it_was_asked_for(cloud: Cloud) -> None:
    cloud.gives(PATH, *[as_json(recorded("azure_d2s_v3_eastus"))] * 2)
    assert refresh("azure", instances=[D2S], today=date(2026, 11, 26))[0].as_of == date(2026, 11, 26)
    before = datetime.now(UTC).date()
    as_of = refresh("azure", instances=[D2S])[0].as_of
    assert as_of is not None
    assert before <= as_of <= datetime.now(UTC).date()


def test_prices_survive_their_file(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(recorded("azure_d2s_v3_eastus")))
    cloud.gives("/v1/services/6F81-5844-456A/skus", as_json(recorded("gcp_a2_americas")))
    a2 = machine("gcp", "a2-highgpu-1g", chip="A100-SXM-40GB", chips=1, vcpus=12, memory_gib=85)
    rows = [*refresh("azure", instances=[D2S]), *refresh("gcp", instances=[a2])]
    assert read_prices(write_prices(rows), "prices.csv") == rows


@pytest.mark.parametrize("name", sorted(PRICE_APIS))
def test_every_price_api_is_loaded_without_its_library(name: str) -> None:
    """In a process of its own: nothing of another test has imported anything."""
    code = (
        "import sys\n"
        "from tradewind.catalog.refresh import PRICE_APIS\n"
        f"assert callable(PRICE_APIS[{name!r}])\n"
        "assert not {'boto3', 'botocore', 'google.auth', 'requests', 'ray', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
