from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.refresh.cloud import Answer, Cloud, as_json, recorded
from tests.catalog.refresh.conftest import API_KEY
from tests.catalog.refresh.machines import GIB, machine
from tradewind.catalog.instance import Instance
from tradewind.catalog.price import Price
from tradewind.catalog.refresh import gcp, refresh
from tradewind.errors import AuthError, IntegrityError, NotFoundError, SpecError, StorageError

TODAY = date(2026, 11, 26)
PATH = "/v1/services/6F81-5844-456A/skus"
A2 = recorded("gcp_a2_americas")
A2_1G = machine("gcp", "a2-highgpu-1g", chip="A100-SXM-40GB", chips=1, vcpus=12, memory_gib=85)
A2_16G = machine("gcp", "a2-megagpu-16g", chip="A100-SXM-40GB", chips=16, vcpus=96, memory_gib=1360)
A2_ULTRA = machine(
    "gcp", "a2-ultragpu-1g", chip="A100-SXM-80GB", chips=1, vcpus=12, memory_gib=170, local_disk_bytes=375 * GIB
)
A3_MEGA = machine("gcp", "a3-megagpu-8g", chip="H100-SXM", chips=8, vcpus=208, memory_gib=1872)
G2 = machine("gcp", "g2-standard-8", chip="L4", chips=1, vcpus=8, memory_gib=32)
A4 = machine("gcp", "a4-highgpu-8g", chip="B200-SXM", chips=8, vcpus=224, memory_gib=3968)


def sku(text: str, usd: float, *, usage: str = "OnDemand", unit: str = "h") -> Any:
    """A recorded one, of us-central1, with another description and price."""
    changed = copy.deepcopy(A2["skus"][0])
    changed["description"], changed["category"]["usageType"], changed["serviceRegions"] = text, usage, ["us-central1"]
    expression = changed["pricingInfo"][0]["pricingExpression"]
    expression["usageUnit"] = unit
    expression["tieredRates"][0]["unitPrice"].update(units=str(int(usd)), nanos=round(usd % 1 * 1e9))
    return changed


def page(*skus: Any, token: str = "") -> Answer:
    return as_json({"skus": list(skus), "nextPageToken": token})


def prices(*instances: Instance, regions: Sequence[str] = ("us-central1",)) -> list[Price]:
    return refresh("gcp", instances=instances or (A2_1G,), regions=regions, today=TODAY)


def test_recorded_skus_compose_to_the_published_prices_of_machines(cloud: Cloud) -> None:
    """cloudpilot-ai/karpenter-provider-gcp has 3.673385 and 55.739504 for them, refreshed on 3 August 2026."""
    cloud.gives(PATH, as_json(A2))
    found = prices(A2_1G, A2_16G, regions=())
    assert {(row.region, row.instance): row.on_demand_usd_per_hour for row in found} == {
        (region, name): usd
        for region in ("us-central1", "us-east1", "us-west1")
        for name, usd in (("a2-highgpu-1g", 3.673385), ("a2-megagpu-16g", 55.739504))
    }
    assert {(row.cloud, row.zone, row.spot_usd_per_hour, row.as_of) for row in found} == {("gcp", "", None, TODAY)}
    assert all("Cloud Billing Catalog API" in row.source and "composed" in row.note for row in found)


def test_spot_is_composed_of_spot_parts(cloud: Cloud) -> None:
    """Rates on demand: 0.024988, 0.002927 and 0.560040; the machine is listed for 0.853624."""
    cloud.gives(
        PATH,
        page(
            sku("G2 Instance Core running in Americas", 0.024988),
            sku("G2 Instance Ram running in Americas", 0.002927, unit="GiBy.h"),
            sku("Nvidia L4 GPU running in Americas", 0.56004),
            sku("Spot Preemptible G2 Instance Core running in Americas", 0.01, usage="Preemptible"),
            sku("Spot Preemptible G2 Instance Ram running in Americas", 0.001, unit="GiBy.h", usage="Preemptible"),
            sku("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", 0.2, usage="Preemptible"),
        ),
    )
    (row,) = prices(G2)
    assert row.on_demand_usd_per_hour == pytest.approx(0.853624, rel=1e-4)
    assert row.spot_usd_per_hour == pytest.approx(8 * 0.01 + 32 * 0.001 + 0.2)


def test_a_machine_without_the_price_of_one_part_has_none(cloud: Cloud) -> None:
    core, ram = (one for one in A2["skus"] if "Instance" in one["description"])
    cloud.gives(PATH, page(core, ram), page(core, ram))
    with pytest.raises(NotFoundError, match="no price of these machine types in region 'us-central1'"):
        prices()


def test_local_disks_that_come_with_a_machine_are_billed(cloud: Cloud) -> None:
    """The machine is listed for 5.068798, of which 375 GiB of disk for $0.08 a month are 0.041096."""
    disk = sku("SSD backed Local Storage", 0.08, unit="GiBy.mo")
    cloud.gives(PATH, page(*A2["skus"], disk, sku("Nvidia Tesla A100 80GB GPU running in Americas", 3.92808)))
    assert prices(A2_ULTRA)[0].on_demand_usd_per_hour == pytest.approx(5.068798, abs=2e-6)


def test_other_ways_to_pay_do_not_make_a_machine_cheaper(cloud: Cloud) -> None:
    """The names and rates are those of a3-megagpu in the Americas in 2026; the sum is $92.74 without disks."""
    ordinary = sku("Nvidia H100 80GB Plus GPU running in Americas", 10.344276)
    calendar = sku("Reserved Nvidia H100 80GB Mega GPU in Americas in Calendar Mode", 4.841121)
    flexible = sku("Nvidia H100 Mega 80GB GPU attached to DWS Defined Duration VMs running in Americas", 4.423936)
    core = sku("A3Plus Instance Core running in Americas", 0.026924)
    ram = sku("A3Plus Instance Ram running in Americas", 0.002344, unit="GiBy.h")
    cloud.gives(PATH, page(calendar, ordinary, flexible, core, ram))
    assert prices(A3_MEGA)[0].on_demand_usd_per_hour == pytest.approx(92.74, abs=0.01)


def test_of_two_names_of_one_accelerator_the_dearer_counts(cloud: Cloud) -> None:
    names = ("Nvidia H100 80GB Plus GPU running in Americas", "Nvidia H100 80GB Mega GPU running in Americas")
    core = sku("A3Plus Instance Core running in Americas", 0.5)
    ram = sku("A3Plus Instance Ram running in Americas", 0.25, unit="GiBy.h")
    cloud.gives(PATH, page(core, ram, *(sku(name, usd) for name, usd in zip(names, (10.0, 11.0), strict=True))))
    assert prices(A3_MEGA)[0].on_demand_usd_per_hour == 208 * 0.5 + 1872 * 0.25 + 8 * 11


def test_a_spot_price_that_is_filed_as_on_demand_is_spot(cloud: Cloud) -> None:
    """Names and rates of the Americas in 2026."""
    spot = sku("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Americas", 4.9542)
    cloud.gives(PATH, page(spot, sku("A4 Nvidia B200 (1 gpu slice) running in Americas", 16.11)))
    (row,) = prices(A4)
    assert (row.on_demand_usd_per_hour, row.spot_usd_per_hour) == (128.88, 39.6336)


def test_of_two_rates_for_one_thing_the_dearer_counts(cloud: Cloud) -> None:
    dear = sku("A2 Instance Core running in Japan", 1.0)
    cheap = sku("A2 Instance Core running in Tokyo", 0.01)
    cloud.gives(PATH, page(dear, *A2["skus"], cheap))
    assert prices()[0].on_demand_usd_per_hour == pytest.approx(12 + 85 * 0.004237 + 2.933908)


def test_what_cannot_be_composed_is_told(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(A2))
    said: list[str] = []
    some = [A2_1G, machine("gcp", "ct6e-standard-4t", chip="TPU-v6e", chips=4)]
    assert len(refresh("gcp", instances=some, regions=["us-west1"], today=TODAY, on_progress=said.append)) == 1
    assert said == ["3 SKUs read", "1 prices; 1 machine types cannot be composed: ct6e-standard-4t"]


def test_pages_are_followed(cloud: Cloud) -> None:
    cloud.gives(PATH, page(A2["skus"][0], token="two"), page(*A2["skus"][1:]))
    assert len(prices()) == 1
    assert [asked.query for asked in cloud.asked] == [
        {"currencyCode": "USD", "pageSize": "5000"},
        {"currencyCode": "USD", "pageSize": "5000", "pageToken": "two"},
    ]


def test_pages_that_go_in_circles_are_an_error(cloud: Cloud) -> None:
    cloud.gives(PATH, *[page(token="same")] * 3)
    with pytest.raises(IntegrityError, match="next page twice"):
        prices()


def test_the_key_stands_in_no_address_and_no_message(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(recorded("gcp_key_refused"), status=400))
    with pytest.raises(AuthError, match="API key not valid") as refused:
        prices()
    assert cloud.asked[0].headers["X-Goog-Api-Key"] == API_KEY
    assert API_KEY not in f"{refused.value.message}{refused.value.hint}{cloud.asked[0].query}"
    assert "GOOGLE_API_KEY" in str(refused.value.hint)


def test_throttling_in_the_middle_of_pages_loses_nothing(cloud: Cloud, pauses: list[float]) -> None:
    busy = Answer(b"", 429, {"Retry-After": "3"})
    cloud.gives(PATH, page(A2["skus"][0], token="two"), busy, page(*A2["skus"][1:]))
    assert len(prices()) == 1
    assert pauses == [3]


def test_half_an_answer_is_an_error(cloud: Cloud) -> None:
    cloud.gives(PATH, *[Answer(b'{"skus": [', cut=True)] * 5)
    with pytest.raises(StorageError, match="did not answer to the end"):
        prices()


def test_skus_must_be_there(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json({"services": []}))
    with pytest.raises(IntegrityError, match="'skus'"):
        prices()


def test_an_unknown_region_is_told(cloud: Cloud) -> None:
    cloud.gives(PATH, as_json(A2))
    with pytest.raises(NotFoundError, match=r"region 'us-centrall' \(did you mean 'us-central1'"):
        prices(regions=("us-central1", "us-centrall"))


def test_without_a_key_a_service_account_logs_in(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(gcp.KEY_VARIABLE)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, cloud.endpoint)))
    cloud.gives("/token", as_json({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}))
    cloud.gives(PATH, as_json(A2))
    assert len(prices()) == 1
    assert [asked.path for asked in cloud.asked] == ["/token", PATH]
    assert cloud.asked[1].headers["Authorization"] == "Bearer a-token"


def test_a_refused_service_account_says_what_to_set(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(gcp.KEY_VARIABLE)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, cloud.endpoint)))
    cloud.gives("/token", as_json({"error": "invalid_grant"}, status=400))
    with pytest.raises(AuthError, match="invalid_grant"):
        prices()


def test_credentials_that_are_not_there_say_what_to_set(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(gcp.KEY_VARIABLE)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(AuthError, match=r"gone\.json") as missing:
        prices()
    assert missing.value.hint == gcp.LOGIN


def test_without_key_and_google_auth_it_says_what_to_install(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gcp.KEY_VARIABLE)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(SpecError, match="google-auth") as missing:
        prices()
    assert "tradewind[gcp]" in str(missing.value.hint)


def service_account(folder: Path, endpoint: str) -> Path:
    """A service account with a new key, which logs in at this server."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {"type": "service_account", "client_email": "a@b.iam", "private_key": pem.decode(), "project_id": "p"}
    path = folder / "account.json"
    path.write_text(json.dumps({**account, "private_key_id": "1", "token_uri": f"{endpoint}/token"}))
    return path
