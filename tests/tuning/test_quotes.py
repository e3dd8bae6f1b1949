from __future__ import annotations

import uuid

import pytest

from tradewind.catalog import load_catalog
from tradewind.planner.spot import Hazard
from tradewind.records import Attempt, Launch, Machine, now
from tradewind.storage import RecordLog, Store, open_store
from tradewind.tuning import quotes
from tradewind.tuning.prices import PriceGuard
from tradewind.tuning.quotes import Prices, cluster_quotes, machine_quote

LISTED = next(
    one for one in load_catalog().offers(cloud="gcp", market="spot") if 1 < (one.on_demand_usd_per_hour or 0) < 2
)
PLACE = f"{LISTED.region.name}-a"


def attempt(candidate: str, market: str, usd: float) -> Attempt:
    return Attempt(
        candidate=candidate, backend="aws", market=market, place=PLACE, machine=LISTED.instance.name, usd_per_hour=usd,
        effective_usd_per_hour=usd, token="t", wanted=1, outcome="launched", seconds=1.0,
    )  # fmt: skip


def launch(number: int, *attempts: Attempt) -> Launch:
    return Launch(
        cluster="quay", number=number, writer="w", node_type="workers", request="r", wanted=1, attempts=attempts,
        reason="cheapest", seconds=1.0,
    )  # fmt: skip


def machine(usd: float) -> Machine:
    return Machine(host="quay", processor="x", num_cpus=2, memory_bytes=1, usd_per_hour=usd)


def test_machine_without_a_price_is_paid_for() -> None:
    assert machine_quote(machine(0)).is_own
    assert machine_quote(machine(0.4)).on_demand_usd == 0.4


def test_newest_launch_says_what_a_candidate_costs() -> None:
    spot, steady = attempt("aws-spot", "spot", 0.03), attempt("aws", "on_demand", 0.11)
    found = cluster_quotes([launch(1, spot, steady), launch(2, attempt("aws-spot", "spot", 0.05))], load_catalog())
    assert (found["aws-spot"].spot_usd, found["aws-spot"].on_demand_usd) == (0.05, 0.11)
    assert (found["aws"].spot_usd, found["aws"].on_demand_usd) == (None, 0.11)


def test_price_on_demand_is_the_catalogues_where_the_cluster_never_paid_one() -> None:
    launches = [launch(1, attempt("aws-spot", "spot", 0.03), attempt("own", "owned", 0.0))]
    found = cluster_quotes(launches, load_catalog())
    assert found["aws-spot"].on_demand_usd == LISTED.on_demand_usd_per_hour
    assert found["own"].is_own
    elsewhere = attempt("aws-spot", "spot", 0.03).model_copy(update={"machine": "unheard-of"})
    assert cluster_quotes([launch(1, elsewhere)], load_catalog())["aws-spot"].on_demand_usd is None


class TestPrices:
    @pytest.fixture
    def store(self) -> Store:
        return open_store(f"memory://{uuid.uuid4().hex}")

    def prices(self, store: Store, *, on_cluster: bool = True) -> Prices:
        guard = PriceGuard(hazard=Hazard(machine_hours=1000))
        return Prices(store, machine(0.0), load_catalog, lambda: guard, lambda: on_cluster)

    def keep(self, store: Store, cluster: str, one: Launch) -> None:
        launches = RecordLog(store, f"clusters/{cluster}/launches", Launch)
        launches.append(lambda number, writer: one.model_copy(update={"number": number, "created_at": now()}))

    def test_machine_of_its_own_is_asked_where_there_is_no_cluster(self, store: Store) -> None:
        assert self.prices(store)().way == "own"
        self.keep(store, "quay", launch(1, attempt("aws-spot", "spot", 0.03)))
        assert self.prices(store, on_cluster=False)().way == "own"

    def test_records_of_the_cluster_that_launched_last_have_the_price(self, store: Store) -> None:
        self.keep(store, "quay", launch(1, attempt("aws-spot", "spot", 0.03)))
        assert self.prices(store)().usd_per_hour == 0.03
        self.keep(store, "pier", launch(1, attempt("aws-spot", "spot", 0.04)))
        assert self.prices(store)().usd_per_hour == 0.04
        self.keep(store, "pier", launch(2, attempt("aws-spot", "spot", 1.99)))
        found = self.prices(store)()
        assert (found.way, found.works) == ("pause", False)
        assert "above the cap of 80%" in found.reason

    def test_head_is_no_worker(self, store: Store) -> None:
        head = launch(1, attempt("aws", "on_demand", 9.0)).model_copy(update={"request": ""})
        self.keep(store, "quay", head)
        assert self.prices(store)().way == "own"


@pytest.mark.parametrize(
    ("place", "region", "inside"),
    [
        ("us-east-1a", "us-east-1", True), ("us-east-1", "us-east-1", True), ("europe-west1-b", "europe-west1", True),
        ("europe-west10-b", "europe-west1", False), ("us-east-1a", "us-west-1", False), ("", "us-west-1", False),
    ],
)  # fmt: skip
def test_zone_is_in_its_region_alone(place: str, region: str, inside: bool) -> None:
    assert quotes._is_in(place, region) == inside
