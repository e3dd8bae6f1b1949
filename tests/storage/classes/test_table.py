"""Storage classes: the table, and each cloud's own through servers that stand in for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest

from tradewind.catalog.storage_price import storage_prices
from tradewind.errors import ArchivedError, AuthError, ConflictError, NotFoundError, SpecError, StorageError
from tradewind.storage import Store, open_store
from tradewind.storage.classes.az import _told
from tradewind.storage.classes.gs import GcsClasses
from tradewind.storage.classes.table import (
    CLASS_STORES,
    IN_CATALOG,
    TIERS,
    ClassStore,
    Cloud,
    class_store,
    classes,
    cloud_of,
    price_note,
    tier_of,
)
from tradewind.storage.patience import TRIES
from tradewind.testing.faults import PASSING, Fault, FaultProxy, start_faults
from tradewind.testing.gcs import start_gcs
from tradewind.testing.rgw import rgw_available, start_rgw
from tradewind.testing.servers import azurite_available, azurite_hint, start_azurite

NAMES = {
    "s3": ["STANDARD", "STANDARD_IA", "GLACIER_IR", "DEEP_ARCHIVE"],
    "gcs": ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"],
    "azure": ["Hot", "Cool", "Cold", "Archive"],
}


class TestTable:
    def test_every_cloud_has_a_class_for_every_tier(self) -> None:
        assert {cloud: [one.name for one in classes(cloud).values()] for cloud in get_args(Cloud)} == NAMES
        assert all(tuple(classes(cloud)) == TIERS for cloud in get_args(Cloud))
        assert set(CLASS_STORES) == set(get_args(Cloud))

    def test_prices_are_those_of_the_catalogue(self) -> None:
        known = {(IN_CATALOG[cloud], one.name): one for cloud in get_args(Cloud) for one in classes(cloud).values()}
        assert known.keys() == {(price.cloud, price.name) for price in storage_prices()}
        for price in storage_prices():
            assert known[price.cloud, price.name].usd_per_gb_month == price.usd_per_gb_month

    @pytest.mark.parametrize("cloud", get_args(Cloud))
    def test_colder_tiers_store_for_less_and_are_held_for_longer(self, cloud: Cloud) -> None:
        prices = [one.usd_per_gb_month or 0 for one in classes(cloud).values()]
        days = [one.minimum_days for one in classes(cloud).values()]
        assert prices == sorted(prices, reverse=True)
        assert days == sorted(days)

    def test_gaps_stay_gaps(self) -> None:
        unknown = [words for cloud in get_args(Cloud) for one in classes(cloud).values() for words in one.unknown()]
        assert unknown == [
            "retrieval price of gcs ARCHIVE",
            *(f"retrieval price of azure {name}" for name in NAMES["azure"]),
        ]

    def test_only_s3_and_azure_keep_archives_offline(self) -> None:
        hours = {cloud: classes(cloud)["archive"].restore_hours for cloud in get_args(Cloud)}
        assert hours == {"s3": 12, "gcs": None, "azure": 15}

    def test_class_of_others_is_no_tier(self) -> None:
        assert tier_of("s3", "GLACIER_IR") == "cold"
        assert tier_of("s3", "INTELLIGENT_TIERING") is None

    def test_unknown_cloud_is_refused(self) -> None:
        with pytest.raises(SpecError, match="no cloud named 'aws'"):
            classes("aws")

    @pytest.mark.parametrize("url", ["memory://quay", "/tmp/quay"])
    def test_store_without_classes_is_refused(self, url: str) -> None:
        with pytest.raises(SpecError, match="has no storage classes"):
            class_store(open_store(url))


def test_without_google_credentials_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    def none(**_: object) -> None:
        raise DefaultCredentialsError("no")  # type: ignore[no-untyped-call]

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(AuthError, match="no Google credentials") as caught:
        list(class_store(open_store("gs://harbour")).list("a"))
    assert "gcloud auth" in (caught.value.hint or "")


def test_azure_without_an_account_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SpecError, match="names no storage account"):
        list(class_store(open_store("az://harbour")).list("a"))


@pytest.mark.parametrize(
    ("endpoint", "is_amazon"),
    [
        ("", True),
        ("https://s3.eu-west-1.amazonaws.com", True),
        ("https://objects.example.org", False),
        ("https://amazonaws.com.example.org", False),
    ],
)
def test_prices_of_amazon_are_not_taken_for_those_of_others(
    endpoint: str, is_amazon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert (price_note("s3") is None) is is_amazon
    assert price_note("gcs") is None


@pytest.fixture(scope="module")
def gcs_url() -> Iterator[str]:
    with start_gcs("harbour", page_size=2) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        yield "gs://harbour"


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    if not azurite_available():
        pytest.skip(f"needs Azurite: {azurite_hint()}")
    with start_azurite() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.make_container("harbour")
        yield "az://harbour"


URLS: dict[Cloud, str] = {"s3": "moto_s3", "gcs": "gcs_url", "azure": "azure_url"}


@pytest.fixture(params=get_args(Cloud))
def store(request: pytest.FixtureRequest) -> Store:
    return open_store(f"{request.getfixturevalue(URLS[request.param])}/{uuid.uuid4().hex}/deep")


class TestEachCloud:
    def test_listing_shows_what_is_below_a_prefix_and_its_class(self, store: Store) -> None:
        for key in ("a/1", "a/2", "a/b/3", "ab/4"):
            store.put(key, b"12345")
        hot = classes(cloud_of(store))["hot"].name
        found = {one.key: one for one in class_store(store).list("a")}
        assert {key: (one.num_bytes, one.name) for key, one in found.items()} == dict.fromkeys(
            ("a/1", "a/2", "a/b/3"), (5, hot)
        )
        assert all(one.since and one.since.tzinfo for one in found.values())

    def test_moved_object_has_its_class_and_its_bytes(self, store: Store) -> None:
        cloud, there = cloud_of(store), class_store(store)
        for tier in ("warm", "cold", "hot"):
            store.put(f"a/{tier}", tier.encode())
            name = classes(cloud)[tier].name
            there.move(f"a/{tier}", name, tier=tier)
            assert store.get(f"a/{tier}") == tier.encode()
            assert {one.key: one.name for one in there.list("a")}[f"a/{tier}"] == name

    def test_every_class_is_found_to_be_there_and_nothing_is_left_behind(self, store: Store) -> None:
        for one in classes(cloud_of(store)).values():
            class_store(store).check("a/probe", one.name)
        assert list(store.list("")) == []

    def test_archived_object_is_restored_where_it_is_offline(self, store: Store) -> None:
        cloud, there = cloud_of(store), class_store(store)
        archive = classes(cloud)["archive"]
        store.put("a/1", b"log")
        there.move("a/1", archive.name, tier="archive")
        if archive.restore_hours is None:
            assert there.state("a/1") == "ready"
            assert store.get("a/1") == b"log"
            there.restore("a/1", days=1)
            return
        assert there.state("a/1") == "archived"
        reads: list[Callable[[], object]] = [
            lambda: store.get("a/1"),
            lambda: store.get_ranges("a/1", [(0, 1)]),
            lambda: list(store.stream("a/1")),
        ]
        for read in reads:
            with pytest.raises(ArchivedError, match="a/1 is archived") as caught:
                read()
            assert caught.value.remedy == "fix"
        assert store.head("a/1").num_bytes == 3
        there.restore("a/1", days=1)
        there.restore("a/1", days=1)
        assert there.state("a/1") in ("ready", "restoring")
        if there.state("a/1") == "ready":
            assert store.get("a/1") == b"log"

    def test_object_that_is_not_there_is_named(self, store: Store) -> None:
        warm = classes(cloud_of(store))["warm"].name
        with pytest.raises(NotFoundError):
            class_store(store).move("a/nowhere", warm, tier="warm")

    def test_many_threads_move_at_once(self, store: Store) -> None:
        keys = [f"a/{number}" for number in range(20)]
        for key in keys:
            store.put(key, key.encode())
        there, name = class_store(store), classes(cloud_of(store))["warm"].name
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: there.move(key, name, tier="warm"), keys))
        assert {one.name for one in there.list("a")} == {name}

    def test_is_what_the_protocol_says(self, store: Store) -> None:
        assert isinstance(class_store(store), ClassStore)


class TestGoogleOnABadDay:
    @pytest.fixture
    def proxy(self, gcs_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
        with start_faults(os.environ["STORAGE_EMULATOR_HOST"]) as proxy:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
            monkeypatch.setattr("tradewind.storage.patience.FIRST_PAUSE_S", 0.001)
            yield proxy

    @pytest.fixture
    def store(self, proxy: FaultProxy) -> Store:
        store = open_store(f"gs://harbour/{uuid.uuid4().hex}")
        store.put("a/1", b"log")
        return store

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("fault", PASSING)
    def test_object_is_moved_through_every_passing_fault(
        self, proxy: FaultProxy, store: Store, fault: Fault, method: str
    ) -> None:
        proxy.inject(fault, times=2, when=lambda asked, _: asked == method)
        there = class_store(store)
        there.move("a/1", "NEARLINE", tier="warm")
        assert [(one.key, one.name) for one in there.list("a")] == [("a/1", "NEARLINE")]
        assert store.get("a/1") == b"log"
        assert proxy.seen[fault]

    @pytest.mark.parametrize("fault", ["503", "429", "reset", "truncated"])
    def test_fault_that_does_not_pass_is_a_storage_error(self, proxy: FaultProxy, store: Store, fault: Fault) -> None:
        before = len(proxy.requests)
        proxy.inject(fault, times=100)
        with pytest.raises(StorageError, match=r"gs://harbour/.* \(GET\) failed"):
            class_store(store).move("a/1", "NEARLINE", tier="warm")
        assert len(proxy.requests) - before == TRIES

    def test_object_that_another_writer_has_replaced_is_a_conflict(
        self, proxy: FaultProxy, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = GcsClasses(store.url)
        rewrite = there._rewrite

        def late(*words: Any) -> None:
            store.put("a/1", b"another")
            rewrite(*words)

        monkeypatch.setattr(there, "_rewrite", late)
        with pytest.raises(ConflictError, match="was changed meanwhile"):
            there.move("a/1", "NEARLINE", tier="warm")
        assert [(one.key, one.name) for one in there.list("a")] == [("a/1", "STANDARD")]


@pytest.mark.skipif(not rgw_available(), reason="needs Ceph RGW")
def test_server_without_the_class_says_so_and_nothing_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceph answers 400 InvalidStorageClass."""
    with start_rgw() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        server.make_bucket("harbour")
        store = open_store("s3://harbour")
        store.put("a/1", b"log")
        for name in ("STANDARD_IA", "DEEP_ARCHIVE"):
            with pytest.raises(SpecError, match="has no such storage class") as caught:
                class_store(store).check("a/probe", name)
            assert "nothing was moved" in (caught.value.hint or "")
        assert [(one.key, one.name) for one in class_store(store).list("a")] == [("a/1", "STANDARD")]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "BlobArchived", ArchivedError),
        (409, "BlobBeingRehydrated", ArchivedError),
        (404, "BlobNotFound", NotFoundError),
        (403, "AuthorizationFailure", AuthError),
        (400, "AccessTierNotSupportedForBlobType", SpecError),
        (503, "ServerBusy", StorageError),
    ],
)
def test_codes_of_azure_are_ours(status: int, code: str, kind: type[Exception]) -> None:
    assert type(_told("az://c/a", status, code)) is kind
